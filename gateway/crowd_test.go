package gateway_test

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// dialFrom connects to the gateway's HTTPS port from one address.
func (s *serving) dialFrom(t *testing.T, source string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	conn, err := d.DialContext(t.Context(), "tcp", s.HTTPS.Addr().String())
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

// hungUp tells whether the gateway closes a connection on which nothing was said, before it could run out of patience.
func hungUp(t *testing.T, conn net.Conn) bool {
	t.Helper()
	must(t, conn.SetReadDeadline(time.Now().Add(2*time.Second)))
	_, err := conn.Read(make([]byte, 1))
	if !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	return errors.Is(err, io.EOF)
}

func TestOneNetworkCannotHoldAllConnections(t *testing.T) {
	s := serve(t, initFolder(t))
	held := make([]net.Conn, 512)
	for i := range held {
		held[i] = s.dialFrom(t, "127.0.0.2")
	}
	if !hungUp(t, s.dialFrom(t, "127.0.0.2")) {
		t.Error("one address holds more than 512 connections")
	}
	if code, _ := s.get(t, "enrol.localhost", "enrol.localhost", "/", nil); code != 200 {
		t.Errorf("another address gets %d", code)
	}
	for _, conn := range held {
		conn.Close()
	}
	for deadline := time.Now().Add(10 * time.Second); hungUp(t, s.dialFrom(t, "127.0.0.2")); {
		if time.Now().After(deadline) {
			t.Fatal("connections that are gone still count")
		}
	}
}
