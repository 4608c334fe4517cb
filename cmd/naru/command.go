package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/push/api"
)

// pollEvery is how often a command that waits asks for its outcome.
const pollEvery = time.Second

// errNotDone makes the program end with 1 when a command that was waited for has
// ended in another way than done.
var errNotDone = errors.New("it was not done")

// commandFlags are those of naru device command.
type commandFlags struct {
	deviceFlags
	life time.Duration
	wait bool
}

func newDeviceCommandCommand(environ []string) *cobra.Command {
	f := commandFlags{}
	cmd := &cobra.Command{
		Use:   "command ID NAME [VALUE]",
		Short: "Ask a device to do something",
		Long: `Keep a command for a device. It rides in the answer to the device's next message that
asks for one, until the device says what has become of it or its time is over.
VALUE is JSON, else a text.`,
		Example: `  naru device command gh1 relay true --wait
  naru device command gh1 interval 60 --ttl 24h`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := cobra.RangeArgs(2, 3)(cmd, args); err != nil {
				return &usageError{err}
			}
			return nil
		},
	}
	f.addTo(cmd, environ)
	cmd.Flags().DurationVar(&f.life, "ttl", device.DefaultCommandLife, "how long the command waits")
	cmd.Flags().BoolVar(&f.wait, "wait", false, "wait for the outcome; 1 unless it is done")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o := device.Order{Device: device.ID(args[0]), Name: args[1], Life: f.life, By: "naru device"}
		if len(args) == 3 {
			if o.Value = []byte(args[2]); !json.Valid(o.Value) {
				o.Value, _ = json.Marshal(args[2]) // a string always can be
			}
		}
		if _, err := o.Command(0); err != nil {
			return &usageError{err}
		}
		return f.use(cmd.Context(), false, commandLogger(cmd.ErrOrStderr()), func(ctx context.Context, p *place) error {
			return f.send(ctx, p, o, cmd.OutOrStdout())
		})
	}
	return cmd
}

func newDeviceCommandsCommand(environ []string) *cobra.Command {
	f := deviceFlags{}
	cmd := &cobra.Command{Use: "commands ID", Short: "List the commands of a device and what became of them", Args: exactArgs(1)}
	f.addTo(cmd, environ)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := device.ParseID(args[0])
		if err != nil {
			return &usageError{err}
		}
		return f.use(cmd.Context(), false, commandLogger(cmd.ErrOrStderr()), func(ctx context.Context, p *place) error {
			cs, err := p.commands(ctx, id)
			if err != nil {
				return err
			}
			if f.asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]any{"commands": cs})
			}
			for _, c := range cs {
				if err := printCommand(cmd.OutOrStdout(), &c); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return cmd
}

// send keeps the command, prints it and, if asked to, waits for its outcome.
func (f *commandFlags) send(ctx context.Context, p *place, o device.Order, out io.Writer) error {
	c, err := p.send(ctx, o)
	if err != nil {
		return err
	}
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	for f.wait && c.Ended == nil {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-poll.C:
		}
		cs, err := p.commands(ctx, o.Device)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(cs, func(other api.Command) bool { return other.ID == c.ID })
		if i < 0 {
			return fmt.Errorf("command %d is no longer known", c.ID)
		}
		c = &cs[i]
	}
	if f.asJSON {
		err = json.NewEncoder(out).Encode(c)
	} else {
		err = printCommand(out, c)
	}
	if err == nil && f.wait && c.State != device.CommandDone.String() {
		err = errNotDone
	}
	return err
}

// printCommand prints a command in one line.
func printCommand(out io.Writer, c *api.Command) error {
	text := fmt.Sprintf("%d  %-9s  %s", c.ID, c.State, c.Name)
	if c.Value != nil {
		text += " " + printable(string(c.Value))
	}
	switch {
	case c.Result != "":
		text += ": " + printable(c.Result)
	case c.Ended == nil && c.Sent == nil:
		text += fmt.Sprintf("  until %s, for the next message of %s that asks for an answer", dayText(device.Time(c.Expires)), c.Device)
	case c.Ended == nil:
		text += fmt.Sprintf("  until %s, told %d×", dayText(device.Time(c.Expires)), c.Tries)
	}
	_, err := fmt.Fprintln(out, text)
	return err
}

// send keeps a command.
func (p *place) send(ctx context.Context, o device.Order) (*api.Command, error) {
	if p.gateway != nil {
		return p.gateway.send(ctx, o)
	}
	if err := p.knows(o.Device); err != nil {
		return nil, err
	}
	c, err := p.store.Mailbox().Send(o)
	if err != nil {
		return nil, err
	}
	out := api.DescribeCommand(&c)
	return &out, nil
}

// commands returns the commands of a device, the newest first.
func (p *place) commands(ctx context.Context, id device.ID) ([]api.Command, error) {
	if p.gateway != nil {
		var answer struct {
			Commands []api.Command `json:"commands"`
		}
		err := p.gateway.getJSON(ctx, "api/v1/devices/"+string(id)+"/commands", nil, &answer)
		return answer.Commands, err
	}
	if err := p.knows(id); err != nil {
		return nil, err
	}
	out := []api.Command{}
	for _, c := range p.store.Mailbox().Commands(id) {
		out = append(out, api.DescribeCommand(&c))
	}
	return out, nil
}

// knows returns an error for a device of which the store knows nothing.
func (p *place) knows(id device.ID) error {
	_, heard := p.store.Device(id)
	_, registered := p.store.Registry().Registration(id)
	if !heard && !registered {
		return fmt.Errorf("no such device: %s", id)
	}
	return nil
}

// send asks the gateway to keep a command.
func (r *remote) send(ctx context.Context, o device.Order) (*api.Command, error) {
	body := map[string]any{"name": o.Name, "ttl": o.Life.String()}
	if o.Value != nil {
		body["value"] = json.RawMessage(o.Value)
	}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	out := &api.Command{}
	_, err = r.ask(ctx, http.MethodPost, "api/v1/devices/"+string(o.Device)+"/commands", bytes.NewReader(text), out)
	return out, err
}
