//go:build !unix

package pushtest

import "os/exec"

// alone does nothing here: what cmd starts may outlive it.
func alone(*exec.Cmd) (end func()) { return func() {} }
