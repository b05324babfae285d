package main

import (
	"context"
	"database/sql"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/rogpeppe/go-internal/testscript"
	_ "modernc.org/sqlite"
)

// databaseFault makes the running demo's database fail as databases do: database held begins an exclusive transaction of
// another process and keeps it, database free ends it, database damaged overwrites the file for good.
func databaseFault(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: database held|free|damaged")
	}
	path := ts.MkAbs(".demo/state.db")
	switch args[0] {
	case "held":
		holdDatabase(ts, path)
	case "free":
		held, ok := heldDatabases.LoadAndDelete(path)
		if !ok {
			ts.Fatalf("the database is not held")
		}
		ts.Check(held.(*sql.DB).Close())
	case "damaged":
		info, err := os.Stat(path)
		ts.Check(err)
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		ts.Check(err)
		_, err = f.WriteAt(make([]byte, info.Size()), 0)
		ts.Check(err)
		ts.Check(f.Close())
		// What has not reached the file yet would hide the damage.
		ts.Check(os.Truncate(path+"-wal", 0))
	default:
		ts.Fatalf("usage: database held|free|damaged")
	}
}

// heldDatabases are the connections (*sql.DB) that hold a database, by its path; scripts run side by side.
var heldDatabases sync.Map

func holdDatabase(ts *testscript.TestScript, path string) {
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)")
	ts.Check(err)
	db.SetMaxOpenConns(1)
	_, err = db.ExecContext(context.Background(), "BEGIN EXCLUSIVE")
	ts.Check(err)
	heldDatabases.Store(path, db)
	ts.Defer(func() { db.Close() })
}

var emergencyID = regexp.MustCompile(`g-[0-9A-Z]{26}`)

// TestAnEmergencyIsDeclaredInABrowserAndSeenByAll is what people do who have a real security key: the command line waits
// while the browser asks for it.
func TestAnEmergencyIsDeclaredInABrowserAndSeenByAll(t *testing.T) {
	needBrowser(t)
	d := startTrial(t)
	profile := filepath.Join(d.Dir, "people", "ren")
	b := d.browser("ren", "en")
	// The key is plugged into the browser's machine; the command line has none.
	if err := os.Rename(filepath.Join(profile, "authenticator.json"), filepath.Join(t.TempDir(), "plugged-in.json")); err != nil {
		t.Fatal(err)
	}
	declare := d.start("break-glass", "--reason", "db1 is down", "--as", "ren")
	asked := declare.says(`Open (https://\S+) in your browser, type this code there and confirm with your hardware key: (\S+)`)
	b.do(chromedp.Navigate(asked[0]), shown("#declare"))
	wantIn(t, "what is to be declared", b.text(), "db1 is down", "127.0.0.1", "all")
	b.shoot("ren-declares")
	b.do(chromedp.SendKeys(chromedp.ID("code"), "AAAA-AAAA"), click("#declare button"), shown("#say.bad"))
	wantIn(t, "the answer to a wrong code", b.text(), "Wrong code")
	b.do(chromedp.SetValue(chromedp.ID("code"), asked[1]), click("#declare button"))
	id := emergencyID.FindString(b.sees("has begun"))
	declare.says(`emergency ` + id + ` of ren`)
	declare.ends()

	ssh := exec.CommandContext(t.Context(), "ssh", "-F", "none", "-i", filepath.Join(profile, "id_ed25519"), "-o", "BatchMode=yes",
		"-o", "IdentityAgent=none", "-o", "IdentitiesOnly=yes", "-o", "HostKeyAlias=gateway", "-o", "GlobalKnownHostsFile=none",
		"-o", "UserKnownHostsFile="+filepath.Join(d.Dir, "known_hosts"), "-l", "app+db1", "ssh://"+d.SSHAddr, "echo hello")
	if out, err := ssh.CombinedOutput(); err != nil || string(out) != "hello\n" {
		t.Errorf("ssh in the emergency: %q, %v", out, err)
	}
	// The browser is logged in for as long as it lasts, in the app as well, with every right.
	b.do(chromedp.Navigate(d.OrdersURL), shown("#order-1001"), click(`[data-delete="1001"]`), chromedp.WaitNotPresent(chromedp.ID("order-1001")))

	m := d.browser("mika", "ja")
	m.do(chromedp.Navigate(d.ConsoleURL + "/"))
	m.logIn()
	m.do(shown(".alarm"))
	m.shoot("mika-alarm")
	wantIn(t, "the banner", m.text(), "緊急アクセス: ren", "db1 is down")

	b.do(chromedp.Navigate(d.ConsoleURL+"/break-glass"), shown("#end"))
	b.shoot("ren-in-emergency")
	b.do(chromedp.SendKeys(chromedp.ID("end-reason"), "db1 is up"), click("#end button"), shown("#say.good"))
	b.wantNoComplaints()

	m.do(chromedp.Navigate(d.ConsoleURL+"/emergencies/"+id), shown("#verdict"))
	wantIn(t, "the emergency's page", m.text(), "ren", "db1 is up", "echo hello", "DELETE /api/orders/1001")
	m.do(chromedp.SetValue(chromedp.ID("verdict"), "justified"), chromedp.SendKeys(chromedp.ID("review-reason"), "確認した"),
		click(`form[action$="/review"] button`), chromedp.WaitNotPresent(chromedp.ID("verdict")))
	m.shoot("mika-reviewed")
	wantIn(t, "the review", m.text(), "確認した", "確認を記録しました", "の緊急アクセスが二人の確認を待っています")
	m.do(chromedp.Navigate(d.ConsoleURL+"/emergencies"), shown("table"))
	m.shoot("mika-emergencies")
	m.wantNoComplaints()
}
