package recorder

import "time"

// Header opens a recording: who was where, and how that was proved.
type Header struct {
	Session  string    `json:"session"`
	Person   string    `json:"person"`
	Vendor   string    `json:"vendor"`
	Chain    []string  `json:"chain,omitempty"`
	Target   string    `json:"target"`
	Login    string    `json:"login,omitempty"`
	Protocol string    `json:"protocol"` // ssh | https
	Source   *Source   `json:"source,omitempty"`
	Started  time.Time `json:"started"` // UTC; entry offsets count from here
	Decision string    `json:"decision,omitempty"`
	Revision int       `json:"revision,omitempty"`
}

// Kind says what an Entry's Data is.
type Kind uint8

// The kinds of entry; FORMAT.md gives each one's Data. Values are wire values: never renumber.
const (
	KindOutput   Kind = 1  // bytes the target wrote to stdout or the terminal
	KindStderr   Kind = 2  // bytes the target wrote to stderr
	KindInput    Kind = 3  // bytes the contractor sent
	KindResize   Kind = 4  // "COLSxROWS"
	KindStart    Kind = 5  // JSON Operation: a shell, exec or subsystem begins on this channel
	KindExit     Kind = 6  // JSON {"status":n} or {"signal":"TERM"}
	KindNotice   Kind = 7  // text the gateway itself showed the contractor
	KindExchange Kind = 8  // JSON Exchange: one HTTP request and its response
	KindBody     Kind = 9  // a content-addressed body: 32 bytes SHA-256, then the bytes
	KindDecided  Kind = 10 // JSON policy decision of an operation in this session
	KindGap      Kind = 11 // JSON {"reason":…,"bytes":n}: something is missing here
	KindEnd      Kind = 12 // JSON {"reason":…}: the last entry of a closed recording
	KindPacket   Kind = 13 // one SFTP packet without its length: 1 byte who sent it (c or t), then the packet
	KindFile     Kind = 14 // a piece of a file: 1 byte who sent it, 4 bytes file number, 8 bytes offset, the bytes
)

// Entry is one moment of a recording. Data is owned by the caller again once Write has returned.
type Entry struct {
	Offset  time.Duration // since Header.Started, never decreasing
	Channel uint32        // SSH channel or HTTP exchange number within the session
	Kind    Kind
	Data    []byte
}
