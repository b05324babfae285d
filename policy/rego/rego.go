// Package rego is the policy folder that a new gateway starts with: guardrail and staff rules, one file per vendor type,
// their tests, and the tables they read.
package rego

import "embed"

// FS holds the folder's files at its root.
//
//go:embed *.rego *.yaml README.md
var FS embed.FS
