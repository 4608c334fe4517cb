package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/authority"
	"github.com/naru-telemetry/naru/ingest/listen"
)

// authorityFile holds the local certificate authority, in the data folder.
const authorityFile = "ca.pem"

// rootPath is where its root can be had.
const rootPath = "/api/v1/ca.crt"

// openTLS prepares for devices that come in over TLS.
func (g *gateway) openTLS() error {
	s := g.settings
	log := g.log.With("component", "tls")
	g.tls = &listen.TLS{Logger: log}
	g.tcp.TLS = g.tls
	var err error
	switch {
	case s.TLSCert != "":
		files := &certificateFiles{cert: s.TLSCert, key: s.TLSKey, log: log}
		if _, err := files.certificate(); err != nil {
			return err
		}
		g.tls.Certificate = files.certificate
	default:
		if g.ca, err = authority.Open(filepath.Join(s.Data, authorityFile), log); err != nil {
			return err
		}
		g.tls.Certificate = g.ca.Server(machineNames).Certificate
	}
	if s.ClientCA == "" && g.ca == nil {
		return nil
	}
	g.tls.ClientCAs = x509.NewCertPool()
	if g.ca != nil {
		g.ca.AddTo(g.tls.ClientCAs)
	}
	if s.ClientCA == "" {
		return nil
	}
	text, err := os.ReadFile(s.ClientCA)
	if err != nil {
		return fmt.Errorf("client-ca: %w", err)
	}
	if !g.tls.ClientCAs.AppendCertsFromPEM(text) {
		return fmt.Errorf("client-ca: there is no certificate in %s", s.ClientCA)
	}
	return nil
}

// machineNames returns the names and addresses of this machine, the likeliest
// first.
func machineNames() []string {
	names := []string{"localhost", "127.0.0.1", "::1"}
	if host, err := os.Hostname(); err == nil && isHostName(host) {
		names = append(names, host)
		if filepath.Ext(host) == "" {
			names = append(names, host+".local") // mDNS
		}
	}
	return append(names, localAddresses()...)
}

// isHostName reports whether a certificate can name the host.
func isHostName(host string) bool {
	for _, c := range []byte(host) {
		switch {
		case c >= '0' && c <= '9', c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c == '-', c == '.':
		default:
			return false
		}
	}
	return host != "" && host != "localhost"
}

// certificateFiles is a certificate in files, which may be replaced at any time.
type certificateFiles struct {
	cert, key string
	log       *slog.Logger

	mu     sync.Mutex // guards following
	loaded *tls.Certificate
	at     [2]fileState // of what was loaded, or tried, last
}

// fileState tells whether a file has changed.
type fileState struct {
	modified time.Time
	size     int64
}

func stateOf(path string) (fileState, error) {
	info, err := os.Stat(path)
	if err != nil {
		return fileState{}, err
	}
	return fileState{info.ModTime(), info.Size()}, nil
}

// certificate returns what is in the files now, or was before somebody began to
// replace it.
func (c *certificateFiles) certificate() (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cert, certErr := stateOf(c.cert)
	key, keyErr := stateOf(c.key)
	at := [2]fileState{cert, key}
	if c.loaded != nil && at == c.at {
		return c.loaded, nil
	}
	c.at = at
	err := errors.Join(certErr, keyErr)
	if err == nil {
		var pair tls.Certificate
		if pair, err = tls.LoadX509KeyPair(c.cert, c.key); err == nil {
			if c.loaded != nil {
				c.log.Info("the certificate has been replaced", "file", c.cert, "ends", pair.Leaf.NotAfter)
			}
			c.loaded = &pair
			return c.loaded, nil
		}
	}
	if c.loaded == nil {
		return nil, fmt.Errorf("tls-cert, tls-key: %w", err)
	}
	c.log.Warn("the new certificate cannot be used; the one before stays", "file", c.cert, "error", err)
	return c.loaded, nil
}

// serveRoot serves the root of the local authority.
func (g *gateway) serveRoot(w http.ResponseWriter, _ *http.Request) {
	if g.ca == nil {
		http.Error(w, "the certificate of this gateway is not its own authority's", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/x-x509-ca-cert")
	w.Header().Set("Content-Disposition", `attachment; filename="naru-ca.crt"`)
	_, _ = w.Write(g.ca.Root())
}

// authority returns the authority of the data folder.
func (f *folderFlags) authority() (*authority.Authority, error) {
	if err := f.settle(); err != nil {
		return nil, err
	}
	a, err := authority.Load(filepath.Join(f.Data, authorityFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no certificate authority in %s; it is made when the gateway first starts without --tls-cert", f.Data)
	}
	return a, err
}

func newCACommand(environ []string) *cobra.Command {
	f := folderFlags{}
	cmd := &cobra.Command{
		Use:   "ca",
		Short: "Print the root certificate by which devices know the gateway",
		Long: `Print the root of the gateway's own certificate authority as PEM, with its SHA-256
fingerprint in a line before. A running gateway also serves it at ` + rootPath + `.`,
		Example: "  naru ca > naru-ca.crt",
		Args:    noArgs,
	}
	f.addTo(cmd, environ)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		a, err := f.authority()
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "# SHA-256 %s\n%s", a.Fingerprint(), a.Root())
		return err
	}
	return cmd
}

func newDeviceCertCommand(environ []string) *cobra.Command {
	f := folderFlags{}
	cmd := &cobra.Command{
		Use:   "cert ID",
		Short: "Make a certificate with which a device comes in over TLS, or DTLS",
		Long: `Make a key and its certificate, signed by the gateway's own authority, and print
both as PEM. Nothing is kept. Run it where the data folder is; the gateway may run.

Register the device too, so that nobody may speak for it without the certificate
or its secret; revoke ends both.`,
		Example: "  naru device cert greenhouse-1 > greenhouse-1.pem",
		Args:    exactArgs(1),
	}
	f.addTo(cmd, environ)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := device.ParseID(args[0])
		if err != nil {
			return &usageError{err}
		}
		a, err := f.authority()
		if err != nil {
			return err
		}
		text, err := a.Device(id)
		if err != nil {
			return err
		}
		_, err = cmd.OutOrStdout().Write(text)
		return err
	}
	return cmd
}
