// Package demo holds what a whole gateway needs around it to be tried on one machine: an SSH target that lives in one
// folder, a small orders app, a software WebAuthn authenticator, the directory that ties them together, and the ssh and
// browser settings of its people. Nothing here belongs to a gateway that guards real systems.
package demo
