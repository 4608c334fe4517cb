package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/naru-telemetry/naru/ingest/authority"
)

// scheme returns how addresses of the page begin.
func (s *settings) scheme() string {
	if s.HTTPTLS {
		return "https://"
	}
	return "http://"
}

// prefixesOf reads addresses and networks.
func prefixesOf(texts []string) (out []netip.Prefix, err error) {
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			a, addrErr := netip.ParseAddr(text)
			if addrErr != nil || a.Zone() != "" {
				return nil, fmt.Errorf("trusted-proxies: want addresses or networks such as 127.0.0.1 or 10.0.0.0/8, not %q", text)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// certificateFile names the file by which commands on this machine know the
// gateway: its authority, or else the certificate itself.
func (g *gateway) certificateFile() string {
	path := g.settings.TLSCert
	if g.ca != nil {
		path = filepath.Join(g.settings.Data, authorityFile)
	}
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// clientFor returns a client for the gateway on this machine that has this
// certificate file, or none. What the certificate is for is somebody else's name, so that
// the certificate itself is compared where there is no authority.
func clientFor(path string) (*http.Client, error) {
	transport, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, errors.New("the default transport is another one")
	}
	transport = transport.Clone()
	transport.DisableCompression = true // on one machine it only costs
	if path == "" {
		return &http.Client{Transport: transport}, nil
	}
	if a, err := authority.Load(path); err == nil {
		roots := x509.NewCertPool()
		a.AddTo(roots)
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, ServerName: "localhost"}
		return &http.Client{Transport: transport}, nil
	}
	transport.TLSClientConfig = &tls.Config{
		InsecureSkipVerify: true, // VerifyConnection does it
		VerifyConnection: func(s tls.ConnectionState) error {
			leaf, err := leafOf(path)
			if err == nil && !bytes.Equal(leaf, s.PeerCertificates[0].Raw) {
				err = fmt.Errorf("who answers has another certificate than %s", path)
			}
			return err
		},
	}
	return &http.Client{Transport: transport}, nil
}

// leafOf returns the first certificate of a PEM file.
func leafOf(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			return block.Bytes, nil
		}
	}
	return nil, fmt.Errorf("there is no certificate in %s", path)
}

// roundTrip makes a request, and explains how a gateway with an authority of its own is
// trusted.
func (r *remote) roundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.client.Do(req)
	if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); unknown {
		return nil, fmt.Errorf("%w; naru ca prints the gateway's root: name its file in SSL_CERT_FILE", err)
	}
	return resp, err
}
