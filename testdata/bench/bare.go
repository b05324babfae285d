package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"golang.org/x/crypto/ssh"
)

// The bare proxy is what sekisho is measured against: the least that terminates SSH and dials again with x/crypto/ssh. It
// lets one key in, decides nothing, records nothing and parses nothing; its algorithms are those of sekisho.
//
// It runs as a process of its own: bench bare HOST_KEY CLIENT_KEY CLIENT_PUB LISTEN TARGET LOGIN.
func runBare(args []string) error {
	if len(args) != 6 {
		return errors.New("usage: bench bare HOST_KEY CLIENT_KEY CLIENT_PUB LISTEN TARGET LOGIN")
	}
	b := &bare{target: args[4]}
	host, err := readSigner(args[0])
	if err != nil {
		return err
	}
	client, err := readSigner(args[1])
	if err != nil {
		return err
	}
	allowed, err := readPublic(args[2])
	if err != nil {
		return err
	}
	b.server = &ssh.ServerConfig{Config: bareTransport(), PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if !bytes.Equal(key.Marshal(), allowed.Marshal()) {
			return nil, errors.New("another key")
		}
		return &ssh.Permissions{}, nil
	}}
	b.server.AddHostKey(host)
	b.client = &ssh.ClientConfig{Config: bareTransport(), User: args[5], Auth: []ssh.AuthMethod{ssh.PublicKeys(client)},
		HostKeyCallback: ssh.InsecureIgnoreHostKey()}
	l, err := net.Listen("tcp", args[3])
	if err != nil {
		return err
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go b.serve(conn)
	}
}

type bare struct {
	target string
	server *ssh.ServerConfig
	client *ssh.ClientConfig
}

// bareTransport is the same as gateway/sshproxy speaks.
func bareTransport() ssh.Config {
	return ssh.Config{KeyExchanges: []string{ssh.KeyExchangeMLKEM768X25519, ssh.KeyExchangeCurve25519},
		Ciphers: []string{ssh.CipherAES128GCM, ssh.CipherAES256GCM}, MACs: []string{ssh.HMACSHA256ETM, ssh.HMACSHA512ETM}}
}

func (b *bare) serve(conn net.Conn) {
	defer conn.Close()
	down, channels, requests, err := ssh.NewServerConn(conn, b.server)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	up, err := ssh.Dial("tcp", b.target, b.client)
	if err != nil {
		return
	}
	defer up.Close()
	for nc := range channels {
		go carry(nc, up)
	}
	down.Wait()
}

// carry joins one channel of the client to one of the target.
func carry(nc ssh.NewChannel, up *ssh.Client) {
	target, answers, err := up.OpenChannel(nc.ChannelType(), nc.ExtraData())
	if err != nil {
		nc.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	client, requests, err := nc.Accept()
	if err != nil {
		target.Close()
		return
	}
	// Without the lock the exit status and the close of a quick command overtake the answer to its exec.
	var replying sync.Mutex
	go func() {
		for req := range requests {
			replying.Lock()
			pass(req, target)
			replying.Unlock()
		}
		target.Close()
	}()
	go func() {
		io.Copy(target, client)
		target.CloseWrite()
	}()
	var output sync.WaitGroup
	output.Go(func() { io.Copy(client, target) })
	output.Go(func() { io.Copy(client.Stderr(), target.Stderr()) })
	for req := range answers {
		output.Wait()
		replying.Lock()
		pass(req, client)
		replying.Unlock()
	}
	output.Wait()
	replying.Lock()
	defer replying.Unlock()
	client.Close()
}

func pass(req *ssh.Request, to ssh.Channel) {
	ok, err := to.SendRequest(req.Type, req.WantReply, req.Payload)
	if req.WantReply {
		req.Reply(ok && err == nil, nil)
	}
}

func readSigner(path string) (ssh.Signer, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return ssh.ParsePrivateKey(data)
}

func readPublic(path string) (ssh.PublicKey, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}
