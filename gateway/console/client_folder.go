package console

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
)

// BootstrapClient speaks to the folder's socket: status, and the first admin's way in.
type BootstrapClient struct{ http *http.Client }

// NewBootstrapClient makes a client of the unix socket at path.
func NewBootstrapClient(path string) *BootstrapClient {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		short, done, err := SocketPath(path)
		if err != nil {
			return nil, err
		}
		defer done()
		var d net.Dialer
		return d.DialContext(ctx, "unix", short)
	}
	return &BootstrapClient{&http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// Status tells how the gateway of this folder stands.
func (c *BootstrapClient) Status(ctx context.Context) (FolderStatus, error) {
	var status FolderStatus
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://folder/status", nil)
	if err != nil {
		return status, err
	}
	resp, err := answered(c.http, r)
	if err != nil {
		return status, err
	}
	return status, read(resp, &status)
}

// Invite makes the first admin's invitation.
func (c *BootstrapClient) Invite(ctx context.Context, person string) (Invitation, error) {
	var invitation Invitation
	return invitation, c.post(ctx, "/invite", map[string]string{"person": person}, &invitation)
}

// Release lets the first admin in, with the code they read out.
func (c *BootstrapClient) Release(ctx context.Context, person, code string) error {
	return c.post(ctx, "/release", map[string]string{"person": person, "code": code}, nil)
}

// ApplyDirectory puts the first directory in force.
func (c *BootstrapClient) ApplyDirectory(ctx context.Context, yaml []byte, reason string) (DirectoryPlan, error) {
	var plan DirectoryPlan
	return plan, c.post(ctx, "/directory", map[string]string{"yaml": string(yaml), "reason": reason}, &plan)
}

func (c *BootstrapClient) post(ctx context.Context, path string, body, into any) error {
	encoded, err := json.Marshal(body)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://folder"+path, bytes.NewReader(encoded))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := answered(c.http, r)
	if err != nil {
		return err
	}
	return read(resp, into)
}

// maxSocketPath is the longest path the kernel takes for a unix socket (unix(7): 108 bytes with its end).
const maxSocketPath = 107

// SocketPath gives a path to a unix socket that the kernel takes however deep the folder lies: a long one goes through an
// open descriptor of the folder. done closes that once the socket is bound or connected.
func SocketPath(path string) (short string, done func(), err error) {
	if len(path) <= maxSocketPath {
		return path, func() {}, nil
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)), func() { dir.Close() }, nil
}
