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
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/push/auth"
)

// accessFlags are those of the commands on access tokens.
type accessFlags struct {
	placeFlags
	asJSON  bool
	role    string
	expires span
	order   device.GrantOrder
}

func newAccessCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "access",
		Short: "Give people and programs access tokens, take these back",
		Long: `Give people and programs access tokens of their own. A viewer sees readings, a
writer writes them, an admin may everything; the first two can be limited to some
devices. A token is shown once.

The commands ask the gateway that runs, or open the data folder. The token of the
first start, which naru token prints, is an admin's and is not in this list.`,
		Example: `  naru access add kitchen --role viewer --device 'greenhouse-*' --expires 30d
  naru access list
  naru access revoke kitchen`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newAccessAddCommand(environ), newAccessListCommand(environ), newAccessRevokeCommand(environ))
	return cmd
}

// addTo declares the flags.
func (f *accessFlags) addTo(cmd *cobra.Command, environ []string) {
	f.placeFlags.addTo(cmd, environ)
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "as JSON, as the API gives it")
}

func newAccessAddCommand(environ []string) *cobra.Command {
	f := accessFlags{}
	cmd := &cobra.Command{Use: "add NAME", Short: "Make an access token; it is shown once", Args: exactArgs(1)}
	f.addTo(cmd, environ)
	cmd.Flags().StringVar(&f.role, "role", device.RoleViewer.String(), "viewer, writer or admin")
	cmd.Flags().StringArrayVar(&f.order.Devices, "device", nil, "`pattern` of the devices that there are for a viewer or writer, repeatable; without any all are")
	cmd.Flags().Var(&f.expires, "expires", "how long it is valid, such as 30d; without, until it is revoked")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		role, err := device.ParseRole(f.role)
		if err != nil {
			return &usageError{fmt.Errorf("role: %w", err)}
		}
		if cmd.Flags().Changed("expires") && f.expires <= 0 {
			return &usageError{fmt.Errorf("expires: want a duration such as 30d")}
		}
		f.order.Name, f.order.Role, f.order.Life, f.order.By = args[0], role, time.Duration(f.expires), "naru access"
		return f.use(cmd.Context(), true, commandLogger(cmd.ErrOrStderr()), func(ctx context.Context, p *place) error {
			made, err := p.grant(ctx, f.order)
			if err != nil {
				return err
			}
			if f.asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(made)
			}
			return f.printNew(cmd.OutOrStdout(), p, made)
		})
	}
	return cmd
}

func newAccessListCommand(environ []string) *cobra.Command {
	f := accessFlags{}
	cmd := &cobra.Command{Use: "list", Short: "List the access tokens; they are not shown again", Args: noArgs}
	f.addTo(cmd, environ)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return f.use(cmd.Context(), false, commandLogger(cmd.ErrOrStderr()), func(ctx context.Context, p *place) error {
			all, err := p.grants(ctx)
			if err != nil {
				return err
			}
			if f.asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]any{"access": all})
			}
			return printAccess(cmd.OutOrStdout(), all)
		})
	}
	return cmd
}

func newAccessRevokeCommand(environ []string) *cobra.Command {
	f := accessFlags{}
	cmd := &cobra.Command{
		Use: "revoke NAME|NUMBER", Short: "Take an access token back; who uses it is cut off", Args: exactArgs(1),
	}
	f.placeFlags.addTo(cmd, environ)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return f.use(cmd.Context(), false, commandLogger(cmd.ErrOrStderr()), func(ctx context.Context, p *place) error {
			all, err := p.grants(ctx)
			if err != nil {
				return err
			}
			a, err := findAccess(all, args[0])
			if err != nil {
				return err
			}
			if err := p.revoke(ctx, a.ID); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is revoked\n", nameOfAccess(a))
			return err
		})
	}
	return cmd
}

// findAccess returns the one with this name, or else with this number.
func findAccess(all []auth.Access, name string) (*auth.Access, error) {
	for i := range all {
		if all[i].State != "damaged" && all[i].Name == name {
			return &all[i], nil
		}
	}
	for i := range all {
		if strconv.FormatUint(all[i].ID, 10) == name {
			return &all[i], nil
		}
	}
	return nil, fmt.Errorf("%w: %s", device.ErrNotGranted, printable(name))
}

func nameOfAccess(a *auth.Access) string {
	if a.State == "damaged" {
		return "number " + strconv.FormatUint(a.ID, 10)
	}
	return printable(a.Name)
}

// printNew prints a token that has just been made.
func (f *accessFlags) printNew(w io.Writer, p *place, a *auth.Access) error {
	out := bufio.NewWriter(w) // what fails shows in Flush
	_, _ = fmt.Fprintf(out, "%s, %s of %s, %s\n\nShown this once:\n\n  token    %s\n", printable(a.Name), a.Role, devicesText(a), expiryText(a), a.Token)
	if a.Role != device.RoleWriter.String() {
		for _, link := range f.links(p, a.Token) {
			_, _ = fmt.Fprintf(out, "  link     %s\n", link)
		}
	}
	return out.Flush()
}

// links returns the links that open the page with the token.
func (f *accessFlags) links(p *place, token string) []string {
	scheme, listen := f.scheme(), f.HTTP
	if p.gateway != nil {
		base := p.gateway.base
		host := base.Hostname()
		if a, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !a.IsLoopback()) {
			return []string{base.JoinPath("/").String() + "?token=" + token}
		}
		scheme, listen = base.Scheme+"://", ":"+base.Port()
	}
	if links := accessLinks(scheme, listen, token); len(links) > 0 {
		return links
	}
	return []string{scheme + here(listen) + "/?token=" + token}
}

func devicesText(a *auth.Access) string {
	if len(a.Devices) == 0 {
		return "all devices"
	}
	return printable(strings.Join(a.Devices, " "))
}

func expiryText(a *auth.Access) string {
	switch at, ok := moment(a.Expires); {
	case a.State == "damaged":
		return "damaged: revoke it"
	case !ok:
		return "until it is revoked"
	case a.State == "expired":
		return "expired " + dayText(at)
	default:
		return "until " + dayText(at)
	}
}

// moment reads a time of the API, in milliseconds.
func moment(text []byte) (device.Time, bool) {
	ms, err := strconv.ParseFloat(string(text), 64)
	return device.Time(ms * 1000), err == nil
}

func printAccess(w io.Writer, all []auth.Access) error {
	name, role := len("name"), len("viewer")
	for i := range all {
		name = max(name, len(nameOfAccess(&all[i])))
	}
	out := bufio.NewWriter(w) // what fails shows in Flush
	_, _ = fmt.Fprintf(out, "%4s  %-*s  %-*s  %-16s  %-26s  %s\n", "", name, "name", role, "role", "used", "valid", "devices")
	for i := range all {
		a := &all[i]
		used := "not since start"
		if at, ok := moment(a.Used); ok {
			used = dayText(at)
		}
		_, _ = fmt.Fprintf(out, "%4d  %-*s  %-*s  %-16s  %-26s  %s\n", a.ID, name, nameOfAccess(a), role, a.Role, used, expiryText(a), devicesText(a))
	}
	return out.Flush()
}

// grants returns the access tokens.
func (p *place) grants(ctx context.Context) ([]auth.Access, error) {
	if p.gateway != nil {
		var list struct {
			Access []auth.Access `json:"access"`
		}
		err := p.gateway.getJSON(ctx, "api/v1/access", nil, &list)
		return list.Access, err
	}
	all, now := []auth.Access{}, device.TimeOf(time.Now())
	for _, g := range p.store.Access().Grants() {
		all = append(all, auth.Describe(g, 0, now, ""))
	}
	return all, nil
}

// grant makes an access token.
func (p *place) grant(ctx context.Context, o device.GrantOrder) (*auth.Access, error) {
	if p.gateway == nil {
		made, token, err := p.store.Access().Grant(o)
		if err != nil {
			return nil, err
		}
		a := auth.Describe(made, 0, made.Created, token)
		return &a, nil
	}
	body := map[string]any{"name": o.Name, "role": o.Role.String(), "devices": o.Devices}
	if o.Life > 0 {
		body["ttl"] = o.Life.Seconds()
	}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	a := &auth.Access{}
	_, err = p.gateway.ask(ctx, http.MethodPost, "api/v1/access", bytes.NewReader(text), a)
	return a, err
}

// revoke takes an access token back.
func (p *place) revoke(ctx context.Context, id uint64) error {
	if p.gateway == nil {
		_, err := p.store.Access().Revoke(id, "naru access")
		return err
	}
	_, err := p.gateway.ask(ctx, http.MethodDelete, "api/v1/access/"+strconv.FormatUint(id, 10), nil, nil)
	return err
}
