package recorder

// Operation is the Data of a KindStart entry: something begins to run on the entry's channel.
type Operation struct {
	Kind     string `json:"kind"`              // ssh.exec | ssh.shell | ssh.subsystem | http.request
	Command  string `json:"command,omitempty"` // the command line or subsystem name, secrets masked
	Terminal bool   `json:"terminal,omitempty"`
	// Env are the variables that the contractor's client set, as far as they were passed on.
	Env      map[string]string `json:"env,omitempty"`
	Term     string            `json:"term,omitempty"` // TERM of the terminal
	Size     string            `json:"size,omitempty"` // COLSxROWS of the terminal
	Enforced string            `json:"enforced,omitempty"`
	Decision string            `json:"decision,omitempty"`
}

// ExitStatus is the Data of a KindExit entry: what ran on the channel is over. Either Status or Signal is set.
type ExitStatus struct {
	Status  *int   `json:"status,omitempty"`
	Signal  string `json:"signal,omitempty"`  // without SIG: TERM, KILL (RFC 4254, 6.10)
	Message string `json:"message,omitempty"` // what the target said of the signal
}

// GapNote is the Data of a KindGap entry: something is missing here, and why.
type GapNote struct {
	Reason string `json:"reason"`
	Bytes  int64  `json:"bytes,omitempty"` // how much, where it is known
}

// EndNote is the Data of a KindEnd entry.
type EndNote struct {
	Reason string `json:"reason"`
}
