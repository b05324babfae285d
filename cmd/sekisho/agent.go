package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/sekisho/sekisho/gateway/console"
)

// agentTime is how long an agent may take to answer.
const agentTime = 10 * time.Second

// lendToAgent puts a profile's SSH key with its certificate into the person's ssh-agent, for as long as the certificate holds
// and in place of the one before. false when there is no agent.
func lendToAgent(p *console.Profile, until time.Time) (bool, error) {
	socket := os.Getenv("SSH_AUTH_SOCK")
	if socket == "" {
		return false, nil
	}
	added, err := agentKey(p)
	if err != nil {
		return false, err
	}
	added.LifetimeSecs = uint32(max(1, time.Until(until)/time.Second))
	conn, err := net.DialTimeout("unix", socket, agentTime)
	if err != nil {
		return false, fmt.Errorf("the ssh-agent at SSH_AUTH_SOCK: %w", err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(agentTime)); err != nil {
		return false, err
	}
	client := agent.NewClient(conn)
	if err := takeBack(client, added.Certificate); err != nil {
		return false, err
	}
	if err := client.Add(added); err != nil {
		return false, fmt.Errorf("adding the certificate to the ssh-agent: %w", err)
	}
	return true, nil
}

func agentKey(p *console.Profile) (agent.AddedKey, error) {
	secret, err := os.ReadFile(p.SSHKeyFile())
	if err != nil {
		return agent.AddedKey{}, err
	}
	private, err := ssh.ParseRawPrivateKey(secret)
	if err != nil {
		return agent.AddedKey{}, fmt.Errorf("%s: %w", p.SSHKeyFile(), err)
	}
	public, err := os.ReadFile(p.SSHCertFile())
	if err != nil {
		return agent.AddedKey{}, err
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(public)
	if err != nil {
		return agent.AddedKey{}, fmt.Errorf("%s: %w", p.SSHCertFile(), err)
	}
	cert, ok := key.(*ssh.Certificate)
	if !ok {
		return agent.AddedKey{}, errors.New(p.SSHCertFile() + " is no certificate")
	}
	return agent.AddedKey{PrivateKey: private, Certificate: cert, Comment: "sekisho " + p.Person}, nil
}

// takeBack removes the certificates that the agent holds for the same key by the same authority.
func takeBack(client agent.Agent, cert *ssh.Certificate) error {
	held, err := client.List()
	if err != nil {
		return fmt.Errorf("asking the ssh-agent: %w", err)
	}
	for _, k := range held {
		key, err := ssh.ParsePublicKey(k.Blob)
		if err != nil {
			continue
		}
		old, ok := key.(*ssh.Certificate)
		if !ok || !bytes.Equal(old.Key.Marshal(), cert.Key.Marshal()) ||
			!bytes.Equal(old.SignatureKey.Marshal(), cert.SignatureKey.Marshal()) {
			continue
		}
		if err := client.Remove(old); err != nil {
			return fmt.Errorf("removing the old certificate from the ssh-agent: %w", err)
		}
	}
	return nil
}
