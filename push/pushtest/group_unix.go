//go:build unix

package pushtest

import (
	"os/exec"
	"syscall"
)

// alone has cmd, and all that it starts, end together: when the context of cmd does, and
// when end is called.
func alone(cmd *exec.Cmd) (end func()) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	kill := func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Cancel = kill
	return func() {
		if cmd.Process != nil {
			_ = kill() // there may be nobody left
		}
	}
}
