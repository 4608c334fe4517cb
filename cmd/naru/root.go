package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func newRootCommand(environ []string) *cobra.Command {
	var s settings
	root := &cobra.Command{
		Use:   "naru",
		Short: "Telemetry push server for embedded devices",
		Long: `Naru (나루, a ferry landing) takes readings from devices over UDP and TCP, keeps
them in one folder, and pushes every one at once to whoever watches.

Without a command it serves: point sensors at port 7700, open the page that it
prints, and watch.`,
		Example: `  naru --demo
  echo "climate,device=my-sensor temp=21.5" | nc -u -w1 127.0.0.1 7700
  naru watch`,
		Args:          noArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	serve := newServeCommand(environ, &s)
	root.RunE = serve.RunE
	root.Flags().AddFlagSet(serve.Flags())
	root.AddCommand(serve, newWatchCommand(environ), newExportCommand(environ), newImportCommand(environ),
		newBackupCommand(environ), newRestoreCommand(environ), newCheckCommand(environ), newCompactCommand(environ), newStatsCommand(environ),
		newDeviceCommand(environ), newAccessCommand(environ), newCACommand(environ), newTokenCommand(environ), newVersionCommand())
	return root
}

// noArgs refuses what stands on the command line beside flags and commands.
func noArgs(cmd *cobra.Command, args []string) error {
	if err := cobra.NoArgs(cmd, args); err != nil {
		return &usageError{err}
	}
	return nil
}

// version is set by the build of a release; otherwise the build's own facts tell.
var version = ""

func versionString() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "0.1.0-dev"
	}
	return info.Main.Version
}

func newVersionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := map[string]string{
				"version": versionString(), "go": runtime.Version(),
				"os": runtime.GOOS, "arch": runtime.GOARCH,
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(v)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "naru %s (%s, %s/%s)\n", v["version"], v["go"], v["os"], v["arch"])
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}
