package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/naru-telemetry/naru/push/auth"
)

func newServeCommand(environ []string, s *settings) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway (the default)",
		Long: `Run the gateway: take readings from devices, keep them, show them.

Every setting may also stand in the environment (--retain-age is NARU_RETAIN_AGE)
or in the TOML file named with --config (retain-age = "720h"). The command line
goes first, then the environment, then the file.`,
		Args: noArgs,
	}
	s.flags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := s.load(cmd.Flags(), environ); err != nil {
			return &usageError{err}
		}
		return serve(cmd.Context(), s, cmd.ErrOrStderr())
	}
	return cmd
}

// serve runs the gateway until ctx is done.
func serve(ctx context.Context, s *settings, stderr io.Writer) error {
	log := newLogger(s, stderr)
	g, err := openGateway(ctx, s, log)
	if err != nil {
		return err
	}
	if err := g.writePorts(s.PortsFile); err != nil {
		return errors.Join(err, g.abandon())
	}
	if err := g.writePorts(filepath.Join(s.Data, addressFile)); err != nil { // the disk may be full, and readings are looked at all the same
		log.Warn("commands on this machine will not find the gateway by its folder", "error", err)
	}
	g.banner(stderr)
	return g.run(ctx)
}

func newLogger(s *settings, w io.Writer) *slog.Logger {
	var level slog.Level
	if level.UnmarshalText([]byte(s.LogLevel)) != nil {
		level = slog.LevelInfo
	}
	o := &slog.HandlerOptions{Level: level}
	if s.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

func newTokenCommand(environ []string) *cobra.Command {
	var s settings
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Print the access link for viewers on other machines",
		Args:  noArgs,
	}
	all := pflag.NewFlagSet("token", pflag.ContinueOnError)
	s.flags(all)
	for _, name := range []string{"config", "data", "http", "http-tls"} {
		cmd.Flags().AddFlag(all.Lookup(name))
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := s.load(all, environ); err != nil {
			return &usageError{err}
		}
		path := filepath.Join(s.Data, tokenFile)
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("there is no access token in %s; it is made when the gateway first starts", s.Data)
		}
		t, _, err := auth.LoadToken(path)
		if err != nil {
			return err
		}
		links := accessLinks(s.scheme(), s.HTTP, t)
		if len(links) == 0 { // what lies before the gateway, such as a proxy, needs the token too
			links = append(links, s.scheme()+here(s.HTTP)+"/?token="+t)
		}
		for _, link := range links {
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), link); err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}
