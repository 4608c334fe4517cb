package socketio

import (
	"testing"

	"github.com/naru-telemetry/naru/push/pushtest"
)

func TestMain(m *testing.M) { pushtest.Main(m) }
