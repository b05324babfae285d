package identity

import "crypto/x509"

// Intermediates holds every vendor's intermediate, for peers that send their certificate without it.
func (a *Authority) Intermediates() *x509.CertPool {
	pool := x509.NewCertPool()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, in := range a.vendors {
		pool.AddCert(in.cert)
	}
	return pool
}
