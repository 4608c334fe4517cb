package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/firmware-sim/fleet"
)

// secretFlags say what devices prove themselves with.
type secretFlags struct {
	psk, token string // of all devices
	file       string
	certs      string
	register   bool
	api        string
	access     string
}

func (f *secretFlags) addTo(flags *pflag.FlagSet) {
	flags.StringVar(&f.psk, "psk", "", "pre-shared `key` of every device, in hex, for --dtls and --coaps")
	flags.StringVar(&f.token, "token", "", "`token` of every device")
	flags.StringVar(&f.file, "secrets", "", "`file` with a secret for each device: CSV with the columns device,psk,token, or JSON")
	flags.StringVar(&f.certs, "certs", "", "`folder` with ID.pem, key and certificate, for each device, for --tls")
	flags.BoolVar(&f.register, "register", false, "have the gateway at --api make what is missing, and keep it in --secrets")
	flags.StringVar(&f.api, "api", "http://127.0.0.1:7780", "`address` of the gateway for --register")
	flags.StringVar(&f.access, "access-token", "", "access `token` of a gateway on another machine, for --register and --http (or NARU_TOKEN)")
}

// secretText is what a device has, as it stands in files and in the gateway's answers.
type secretText struct {
	PSK   string `json:"psk,omitempty"` // hex
	Token string `json:"token,omitempty"`
}

// secretsOf is what is known of each device.
type secretsOf map[device.ID]secretText

// errNoSecrets leaves out what a file of secrets holds.
var errNoSecrets = errors.New(`want lines of device,psk,token below such a header, or {"id":{"psk":"…","token":"…"}}`)

// parseSecrets reads a file of secrets. Its errors do not tell them.
func parseSecrets(text []byte) (secretsOf, error) {
	all := secretsOf{}
	if trimmed := bytes.TrimSpace(text); len(trimmed) > 0 && trimmed[0] == '{' {
		if json.Unmarshal(trimmed, &all) != nil {
			return nil, errNoSecrets
		}
	} else {
		rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
		if err != nil || len(rows) == 0 {
			return nil, errNoSecrets
		}
		column := func(name string) int { return slices.Index(rows[0], name) }
		id, psk, token := column("device"), column("psk"), column("token")
		if id < 0 || psk < 0 && token < 0 {
			return nil, errNoSecrets
		}
		for _, row := range rows[1:] {
			var s secretText
			if psk >= 0 {
				s.PSK = row[psk]
			}
			if token >= 0 {
				s.Token = row[token]
			}
			all[device.ID(row[id])] = s
		}
	}
	for id := range all {
		if err := device.CheckID(id); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// read returns what the file holds. It may be missing when the gateway is asked.
func (f *secretFlags) read() (secretsOf, error) {
	if f.file == "" {
		return secretsOf{}, nil
	}
	text, err := os.ReadFile(f.file)
	if errors.Is(err, fs.ErrNotExist) && f.register {
		return secretsOf{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("secrets: %w", err)
	}
	all, err := parseSecrets(text)
	if err != nil {
		return nil, fmt.Errorf("secrets: %s: %w", f.file, err)
	}
	return all, nil
}

// write keeps the secrets for the next run, for nobody else to read.
func (f *secretFlags) write(all secretsOf) error {
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(f.file), filepath.Base(f.file)+".*") // it is readable by its owner only
	if err != nil {
		return fmt.Errorf("secrets: %w", err)
	}
	_, err = tmp.Write(append(text, '\n'))
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), f.file)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("secrets: %w", err), os.Remove(tmp.Name()))
	}
	return nil
}

// apply puts the secrets of all devices into the target of cfg, having the gateway
// make what is missing.
func (f *secretFlags) apply(ctx context.Context, cfg *fleet.Config) error {
	if f.access == "" {
		f.access = os.Getenv(accessToken)
	}
	cfg.AccessToken = f.access
	members, err := fleet.Members(*cfg)
	if err != nil {
		return err
	}
	known, err := f.read()
	if err != nil {
		return err
	}
	if f.register {
		if err := f.makeMissing(ctx, members, known); err != nil {
			return err
		}
	}
	secrets := map[device.ID]fleet.Secret{}
	for _, m := range members {
		if secrets[m.ID], err = f.secret(m, known[m.ID]); err != nil {
			return fmt.Errorf("%s: %w", m.ID, err)
		}
	}
	cfg.Secrets = func(id device.ID) fleet.Secret { return secrets[id] }
	return nil
}

// secret returns that of a device: what the file says, else what the flags say for
// all. Its errors do not tell it.
func (f *secretFlags) secret(m fleet.Member, text secretText) (s fleet.Secret, err error) {
	if text.PSK == "" {
		text.PSK = f.psk
	}
	if s.Token = text.Token; s.Token == "" {
		s.Token = f.token
	}
	if s.PSK, err = hex.DecodeString(text.PSK); err != nil {
		return s, errors.New("the key is not in hex")
	}
	if f.certs == "" || m.Transport != fleet.TLS {
		return s, nil
	}
	name := filepath.Join(f.certs, string(m.ID)+".pem")
	cert, err := tls.LoadX509KeyPair(name, name)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	s.Certificate = &cert
	return s, err
}

// makeMissing has the gateway make the secrets that devices need and do not have. What
// it has made is kept when it fails later: a gateway shows a secret once.
func (f *secretFlags) makeMissing(ctx context.Context, members []fleet.Member, known secretsOf) (err error) {
	r := registrar{api: strings.TrimSuffix(f.api, "/"), access: f.access}
	made := false
	for _, m := range members {
		s := known[m.ID]
		keyed := m.Transport == fleet.DTLS || m.Transport == fleet.CoAPS
		if keyed && s.PSK != "" || !keyed && s.Token != "" {
			continue
		}
		got, failed := r.secret(ctx, m.ID, keyed)
		if failed != nil {
			err = fmt.Errorf("register %s: %w", m.ID, failed)
			break
		}
		if keyed {
			s.PSK = got.PSK
		} else {
			s.Token = got.Token
		}
		known[m.ID], made = s, true
	}
	if made && f.file != "" {
		return errors.Join(err, f.write(known))
	}
	return err
}

// roots reads whom devices trust; an empty name means whom the system trusts.
func roots(name string) (*x509.CertPool, error) {
	if name == "" {
		return nil, nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("ca: there is no certificate in %s", name)
	}
	return pool, nil
}
