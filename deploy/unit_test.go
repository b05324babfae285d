package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/gateway/directory"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/policy/rego"
)

// unit is a copy of the service, with and without the ports below 1024, that names a program which exists.
func unit(t *testing.T, ports bool) string {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		missing(t, "systemd-analyze")
	}
	text, err := os.ReadFile("sekisho.service")
	must(t, err)
	if ports {
		more, err := os.ReadFile("sekisho.service.d/privileged-ports.conf")
		must(t, err)
		text = append(text, more...)
	}
	path := filepath.Join(t.TempDir(), "sekisho.service")
	must(t, os.WriteFile(path, []byte(strings.ReplaceAll(string(text), "/usr/local/bin/sekisho", "/bin/true")), 0o644))
	return path
}

func TestTheUnitIsUnderstoodAndConfined(t *testing.T) {
	for _, ports := range []bool{false, true} {
		path := unit(t, ports)
		if out, err := exec.Command("systemd-analyze", "verify", path).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("systemd-analyze verify: %v\n%s", err, out)
		}
		out, err := exec.Command("systemd-analyze", "security", "--offline=yes", path).CombinedOutput()
		exposure := regexp.MustCompile(`Overall exposure level for sekisho.service: ([0-9.]+)`).FindSubmatch(out)
		if err != nil || exposure == nil {
			t.Fatalf("systemd-analyze security: %v\n%s", err, out)
		}
		if level, err := strconv.ParseFloat(string(exposure[1]), 64); err != nil || level > 1.6 {
			t.Errorf("exposure %s with ports below 1024: %v, want 1.6 at most", exposure[1], ports)
		}
	}
}

func TestTheExampleDirectoryIsOne(t *testing.T) {
	text, err := os.ReadFile("directory.yaml")
	must(t, err)
	zone, err := time.LoadLocation("Asia/Tokyo")
	must(t, err)
	shipped, err := policy.Load(rego.FS, 1)
	must(t, err)
	d, err := directory.Parse("directory.yaml", text, directory.Options{Zone: zone, HasWindow: shipped.HasWindow})
	must(t, err)
	if _, ok := d.Input("hanako", "db1", "app"); !ok {
		t.Error("hanako is nobody in the example")
	}
}
