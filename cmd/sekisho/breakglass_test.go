package main

import (
	"context"
	"database/sql"
	"os"
	"sync"

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
