// Command mutate shows that the tests hold the shipped policy: it changes one thing in policy/rego at a time (a cell, a
// bound, a comparison, a literal, a rule, an operation of a role), runs the fast tests against the changed folder and names
// every change that none of them notices. It fails when there is one that equivalent.go does not explain.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"sync"
	"text/tabwriter"
	"time"
)

var (
	folder = flag.String("folder", "policy/rego", "the policy folder")
	only   = flag.String("only", "", "only changes whose description matches this regular expression")
	list   = flag.Bool("list", false, "print the changes and try none")
	jobs   = flag.Int("jobs", runtime.NumCPU(), "changes tried at once")
	how    = flag.Bool("v", false, "print what noticed each change, too")
)

func main() {
	flag.Parse()
	log.SetFlags(0)
	log.SetPrefix("mutate: ")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	unexplained, err := run(ctx, os.Stdout)
	if err != nil {
		stop()
		log.Fatal(err)
	}
	if unexplained > 0 {
		stop()
		log.Fatalf("%d changes are noticed by no test and stand not in equivalent.go", unexplained)
	}
}

// mutant is the policy folder with one thing changed.
type mutant struct {
	file   string
	line   int
	kind   string // what was changed: cell, window, comparison, …
	change string // before → after, in one line
	text   []byte // of the changed file
}

func (m mutant) String() string {
	return fmt.Sprintf("%s:%d: %s: %s", m.file, m.line, m.kind, m.change)
}

// verdict is what the tests said of a mutant.
type verdict struct {
	mutant
	noticed string // the test that failed, "" when none did
	reason  string // why it changes nothing, from equivalent.go
}

// run tries every change and returns how many are neither noticed nor explained.
func run(ctx context.Context, out io.Writer) (unexplained int, err error) {
	all, err := mutants(*folder)
	if err != nil {
		return 0, err
	}
	if *only != "" {
		wanted, err := regexp.Compile(*only)
		if err != nil {
			return 0, err
		}
		all = slices.DeleteFunc(all, func(m mutant) bool { return !wanted.MatchString(m.String()) })
	}
	if *list {
		for _, m := range all {
			fmt.Fprintln(out, m)
		}
		return 0, nil
	}
	began := time.Now()
	verdicts, err := try(ctx, all)
	if err != nil {
		return 0, err
	}
	unexplained = report(out, verdicts)
	fmt.Fprintf(out, "%s on %d processors\n", time.Since(began).Round(time.Second), *jobs)
	return unexplained, nil
}

// mutants lists every single change of a folder.
func mutants(dir string) ([]mutant, error) {
	var all []mutant
	for _, source := range []struct {
		pattern string
		changes func(file string, text []byte) ([]mutant, error)
	}{{"*.yaml", tableMutants}, {"*.rego", regoMutants}} {
		files, err := filepath.Glob(filepath.Join(dir, source.pattern))
		if err != nil {
			return nil, err
		}
		for _, path := range files {
			text, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			found, err := source.changes(filepath.Base(path), text)
			if err != nil {
				return nil, err
			}
			all = append(all, found...)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("nothing to change; run this in the module's folder")
	}
	return all, nil
}

// try runs the tests against every mutant, some at once.
func try(ctx context.Context, all []mutant) ([]verdict, error) {
	bench, err := newBench(ctx, *folder)
	if err != nil {
		return nil, err
	}
	defer bench.close()
	verdicts := make([]verdict, len(all))
	errs := make([]error, len(all))
	next := make(chan int)
	var workers sync.WaitGroup
	for range *jobs {
		workers.Go(func() {
			for i := range next {
				verdicts[i].mutant = all[i]
				verdicts[i].noticed, errs[i] = bench.try(ctx, all[i])
				if verdicts[i].noticed == "" {
					verdicts[i].reason = explained(all[i])
				}
			}
		})
	}
	for i := range all {
		next <- i
	}
	close(next)
	workers.Wait()
	return verdicts, errors.Join(errs...)
}

// report prints what was not noticed and a table of figures.
func report(out io.Writer, verdicts []verdict) (unexplained int) {
	type figures struct{ all, noticed, equivalent, survived int }
	byKind := map[string]*figures{}
	total := &figures{}
	for _, v := range verdicts {
		if byKind[v.kind] == nil {
			byKind[v.kind] = &figures{}
		}
		for _, f := range []*figures{byKind[v.kind], total} {
			f.all++
			switch {
			case v.noticed != "":
				f.noticed++
			case v.reason != "":
				f.equivalent++
			default:
				f.survived++
			}
		}
		switch {
		case v.noticed == "" && v.reason == "":
			fmt.Fprintln(out, "SURVIVED  ", v.mutant)
		case v.noticed == "":
			fmt.Fprintf(out, "EQUIVALENT %s (%s)\n", v.mutant, v.reason)
		case *how:
			fmt.Fprintf(out, "NOTICED    %s (%s)\n", v.mutant, v.noticed)
		}
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "change\tall\tnoticed\tequivalent\tsurvived\t")
	for _, kind := range slices.Sorted(maps.Keys(byKind)) {
		f := byKind[kind]
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t\n", kind, f.all, f.noticed, f.equivalent, f.survived)
	}
	fmt.Fprintf(w, "together\t%d\t%d\t%d\t%d\t\n", total.all, total.noticed, total.equivalent, total.survived)
	w.Flush()
	return total.survived + unused(out, verdicts)
}
