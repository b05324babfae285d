// Package recorder keeps what happened: the recording of a session (FORMAT.md) and the event of the audit log. A Writer
// accepts entries and puts them on disk compressed, encrypted and hash-chained; a Reader gives them back; Verify needs
// neither key nor trust in the gateway that wrote them.
package recorder
