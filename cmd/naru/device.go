package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/push/api"
)

// deviceFlags are those of the commands on the registry.
type deviceFlags struct {
	placeFlags
	asJSON bool
	change device.Change
}

func newDeviceCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "device",
		Short: "Register devices, give them secrets, take these back",
		Long: `Register devices and give them secrets. A device that has one is spoken for: readings
in its name are taken only with it. Secrets are shown once.

The commands ask the gateway that runs, or open the data folder.`,
		Example: `  naru device add greenhouse-1 --token
  naru device rotate greenhouse-1
  naru device list`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, c := range []struct {
		act        device.Act
		use, short string
	}{
		{device.Register, "add ID", "Register a device and give it a key or a token"},
		{device.Approve, "approve ID", "Take readings of a device that waits, without a secret"},
		{device.Rename, "rename ID NAME", "Name a device for people; its id stays"},
		{device.Rotate, "rotate ID", "Give a device a new secret; the old one is valid until the new one is used"},
		{device.Revoke, "revoke ID", "Take all secrets of a device away: nobody may speak for it"},
		{device.Remove, "remove ID", "Forget the registration of a device; its readings stay"},
	} {
		cmd.AddCommand(newChangeCommand(environ, c.act, c.use, c.short))
	}
	cmd.AddCommand(newDeviceListCommand(environ), newDeviceShowCommand(environ), newDeviceCertCommand(environ),
		newDeviceCommandCommand(environ), newDeviceCommandsCommand(environ))
	return cmd
}

// addTo declares the flags. --token asks for a token of a device here.
func (f *deviceFlags) addTo(cmd *cobra.Command, environ []string) {
	f.folderFlags.addTo(cmd, environ)
	cmd.Flags().StringVar(&f.url, "url", "", "`address` of a gateway, such as http://192.168.1.20:7780")
	cmd.Flags().StringVar(&f.token, "access-token", "", "access token, for a gateway on another machine (or NARU_TOKEN)")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "as JSON, as the API gives it")
}

// exactArgs refuses another number of arguments.
func exactArgs(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := cobra.ExactArgs(n)(cmd, args); err != nil {
			return &usageError{err}
		}
		return nil
	}
}

func newChangeCommand(environ []string, act device.Act, use, short string) *cobra.Command {
	f := deviceFlags{change: device.Change{Act: act, By: "naru device"}}
	cmd := &cobra.Command{Use: use, Short: short, Args: exactArgs(strings.Count(use, " "))}
	f.addTo(cmd, environ)
	if act == device.Register || act == device.Rotate {
		cmd.Flags().BoolVar(&f.change.PSK, "psk", false, "a pre-shared key, for DTLS")
		cmd.Flags().BoolVar(&f.change.Token, "token", false, "a token, to be sent beside the readings")
	}
	if act == device.Register || act == device.Approve {
		cmd.Flags().StringVar(&f.change.Name, "name", "", "`name` for people")
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := device.ParseID(args[0])
		if err != nil {
			return &usageError{err}
		}
		f.change.ID = id
		if act == device.Rename {
			f.change.Name = args[1]
		}
		return f.use(cmd.Context(), true, commandLogger(cmd.ErrOrStderr()), func(ctx context.Context, p *place) error {
			made, err := p.change(ctx, f.change, func() api.About { return f.about() })
			if err != nil {
				return err
			}
			return f.print(cmd.OutOrStdout(), made)
		})
	}
	return cmd
}

func newDeviceListCommand(environ []string) *cobra.Command {
	f := deviceFlags{}
	cmd := &cobra.Command{Use: "list", Short: "List the registered devices", Args: noArgs}
	f.addTo(cmd, environ)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return f.use(cmd.Context(), false, commandLogger(cmd.ErrOrStderr()), func(ctx context.Context, p *place) error {
			all, err := p.registrations(ctx)
			if err != nil {
				return err
			}
			if f.asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(all)
			}
			return all.print(cmd.OutOrStdout())
		})
	}
	return cmd
}

func newDeviceShowCommand(environ []string) *cobra.Command {
	f := deviceFlags{}
	cmd := &cobra.Command{Use: "show ID", Short: "Show a registered device; secrets are not shown again", Args: exactArgs(1)}
	f.addTo(cmd, environ)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return f.use(cmd.Context(), false, commandLogger(cmd.ErrOrStderr()), func(ctx context.Context, p *place) error {
			r, err := p.registration(ctx, device.ID(args[0]))
			if err != nil {
				return err
			}
			return f.print(cmd.OutOrStdout(), r)
		})
	}
	return cmd
}

// about says where devices reach the gateway that serves the folder.
func (f *deviceFlags) about() api.About {
	a := api.About{Addresses: localAddresses()}
	port := func(listen string) int {
		at, err := netip.ParseAddrPort(here(listen))
		if err != nil || !on(listen) {
			return 0
		}
		if !at.Addr().IsLoopback() {
			a.Addresses = []string{at.Addr().String()}
		}
		return int(at.Port())
	}
	a.UDP, a.TCP = port(f.UDP), port(f.TCP)
	return a
}

// print prints a registration, with the secrets that are new.
func (f *deviceFlags) print(w io.Writer, r *api.Registered) error {
	switch {
	case f.asJSON:
		return json.NewEncoder(w).Encode(r)
	case r == nil:
		_, err := fmt.Fprintf(w, "%s is forgotten; its readings stay\n", f.change.ID)
		return err
	}
	out := bufio.NewWriter(w) // what fails shows in Flush
	_, _ = fmt.Fprintf(out, "%s\n", r.ID)
	if r.Name != "" {
		_, _ = fmt.Fprintf(out, "  name     %s\n", printable(r.Name))
	}
	_, _ = fmt.Fprintf(out, "  since    %s\n", dayText(device.Time(r.Created)))
	switch {
	case r.Revoked:
		_, _ = fmt.Fprintln(out, "  revoked: nobody may speak for it")
	case len(r.Credentials) == 0:
		_, _ = fmt.Fprintln(out, "  no secret: anybody on a private network may speak for it")
	}
	for _, c := range r.Credentials {
		used := "never used"
		if c.Used != nil {
			used = "first used " + dayText(device.Time(*c.Used))
		}
		_, _ = fmt.Fprintf(out, "  %-8s since %s, %s\n", c.Kind, dayText(device.Time(c.Created)), used)
	}
	if r.Secrets != nil {
		printSecrets(out, r, isTerminal(w))
	}
	return out.Flush()
}

func printSecrets(out io.Writer, r *api.Registered, terminal bool) {
	_, _ = fmt.Fprint(out, "\nShown this once:\n\n")
	if r.Secrets.PSK != "" {
		_, _ = fmt.Fprintf(out, "  psk      %s   (hex; the DTLS identity is %s)\n", r.Secrets.PSK, r.ID)
	}
	if r.Secrets.Token != "" {
		_, _ = fmt.Fprintf(out, "  token    %s\n", r.Secrets.Token)
	}
	if r.Setup == nil {
		return
	}
	for _, s := range r.Setup.Snippets {
		_, _ = fmt.Fprintf(out, "\n# %s\n%s\n", s.Platform, s.Text)
	}
	_, _ = fmt.Fprintf(out, "\n%s\n\n%s", r.Setup.URI, qrText(r.Setup.QR, terminal))
}

// quietZone is the light frame of a QR code, in modules.
const quietZone = 4

// qrText draws a QR code, two rows of modules in a line. Light modules are
// drawn, as on a dark terminal; with colour it is black and white on any.
func qrText(rows []string, colour bool) string {
	if len(rows) == 0 {
		return ""
	}
	light := func(x, y int) bool {
		return y < 0 || y >= len(rows) || x < 0 || x >= len(rows) || rows[y][x] != '#'
	}
	var b strings.Builder
	for y := -quietZone; y < len(rows)+quietZone; y += 2 {
		if colour {
			b.WriteString("\x1b[97;40m")
		}
		for x := -quietZone; x < len(rows)+quietZone; x++ {
			switch up, down := light(x, y), light(x, y+1); {
			case up && down:
				b.WriteString("█")
			case up:
				b.WriteString("▀")
			case down:
				b.WriteString("▄")
			default:
				b.WriteByte(' ')
			}
		}
		if colour {
			b.WriteString("\x1b[0m")
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func dayText(t device.Time) string { return t.Std().Local().Format("2006-01-02 15:04") }

// registryList is what is registered, and in a gateway who waits.
type registryList struct {
	Devices   []api.Registered `json:"devices"`
	Admission string           `json:"admission,omitempty"`
	Waiting   []struct {
		ID       device.ID `json:"id"`
		Address  string    `json:"address"`
		Messages int64     `json:"messages"`
	} `json:"waiting,omitempty"`
}

// print prints a table, and below it who waits.
func (l *registryList) print(w io.Writer) error {
	width := len("device")
	for _, r := range l.Devices {
		width = max(width, len(r.ID))
	}
	out := bufio.NewWriter(w) // what fails shows in Flush
	_, _ = fmt.Fprintf(out, "%-*s  %-16s  %-16s  %s\n", width, "device", "since", "secrets", "name")
	for _, r := range l.Devices {
		var kinds []string
		for _, c := range r.Credentials {
			kinds = append(kinds, c.Kind)
		}
		secrets := strings.Join(kinds, " ")
		switch {
		case r.Revoked:
			secrets = "revoked"
		case secrets == "":
			secrets = "none"
		}
		_, _ = fmt.Fprintf(out, "%-*s  %-16s  %-16s  %s\n", width, r.ID, dayText(device.Time(r.Created)), secrets, printable(r.Name))
	}
	for _, w := range l.Waiting {
		_, _ = fmt.Fprintf(out, "%s waits: %d messages from %s (naru device approve %s)\n", w.ID, w.Messages, w.Address, w.ID)
	}
	return out.Flush()
}

// registrations returns what is registered.
func (p *place) registrations(ctx context.Context) (*registryList, error) {
	l := &registryList{Devices: []api.Registered{}}
	if p.gateway != nil {
		return l, p.gateway.getJSON(ctx, "api/v1/registry", nil, l)
	}
	for _, r := range p.store.Registry().Registrations() {
		l.Devices = append(l.Devices, api.Describe(r, device.Secrets{}, api.About{}))
	}
	return l, nil
}

func (p *place) registration(ctx context.Context, id device.ID) (*api.Registered, error) {
	if err := device.CheckID(id); err != nil {
		return nil, &usageError{err}
	}
	if p.gateway != nil {
		out := &api.Registered{}
		return out, p.gateway.getJSON(ctx, "api/v1/registry/"+string(id), nil, out)
	}
	r, ok := p.store.Registry().Registration(id)
	if !ok {
		return nil, fmt.Errorf("device %q is %w", id, device.ErrNotRegistered)
	}
	out := api.Describe(r, device.Secrets{}, api.About{})
	return &out, nil
}

// change changes the registry. It returns nil when the registration has ended.
func (p *place) change(ctx context.Context, c device.Change, about func() api.About) (*api.Registered, error) {
	if p.gateway != nil {
		return p.gateway.change(ctx, c)
	}
	r, secrets, err := p.store.Registry().Change(c)
	if err != nil || r == nil {
		return nil, err
	}
	out := api.Describe(r, secrets, about())
	return &out, nil
}

// changeTimeout is longer than the slowest disk takes.
const changeTimeout = time.Minute

// change asks the gateway for it.
func (r *remote) change(ctx context.Context, c device.Change) (*api.Registered, error) {
	method, path := http.MethodPost, "api/v1/registry/"+string(c.ID)
	body := map[string]any{"psk": c.PSK, "token": c.Token, "name": c.Name}
	switch c.Act { //nolint:exhaustive // the others are named in the path
	case device.Register:
		path = "api/v1/registry"
		body["id"] = c.ID
	case device.Rename:
		method = http.MethodPatch
	case device.Remove:
		method = http.MethodDelete
	default:
		path += "/" + string(c.Act)
	}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	out := &api.Registered{}
	if some, err := r.ask(ctx, method, path, bytes.NewReader(text), out); err != nil || !some {
		return nil, err
	}
	return out, nil
}

// ask makes the gateway change something and decodes its answer into v. It
// reports false when the gateway has nothing to say.
func (r *remote) ask(ctx context.Context, method, path string, body io.Reader, v any) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	req, err := r.request(ctx, method, path, nil, body)
	if err != nil {
		return false, err
	}
	resp, err := r.roundTrip(req)
	if err != nil {
		return false, err
	}
	defer func() { _ = resp.Body.Close() }()
	switch resp.StatusCode {
	case http.StatusNoContent:
		return false, nil
	case http.StatusOK, http.StatusCreated:
	default:
		return false, errorOf(resp)
	}
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		return false, fmt.Errorf("the gateway sent something else than an answer: %w", err)
	}
	return true, nil
}
