package live

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/coder/websocket"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/push"
)

// subscribeMessage is what a viewer may send.
type subscribeMessage struct {
	Type   string   `json:"type"`
	Device []string `json:"device"`
	Metric []string `json:"metric"`
	After  string   `json:"after"`
	Last   int      `json:"last"`

	Policy   string          `json:"policy"`
	Every    string          `json:"every"`
	Deadband json.RawMessage `json:"deadband"`

	Presence bool `json:"presence"`
}

func parseSubscribe(kind websocket.MessageType, b []byte) (push.Options, error) {
	if kind != websocket.MessageText {
		return push.Options{}, errors.New("want a text message")
	}
	m, err := decodeSubscribe(b)
	if err != nil {
		return push.Options{}, err
	}
	if m.Type != "subscribe" {
		return push.Options{}, errors.New(`type: want "subscribe"`)
	}
	o, err := m.options()
	o.Subscribed = err == nil
	return o, err
}

func decodeSubscribe(b []byte) (m subscribeMessage, err error) {
	var mismatch *json.UnmarshalTypeError
	switch err := json.Unmarshal(b, &m); {
	case errors.As(err, &mismatch) && mismatch.Field != "":
		return m, errors.New(mismatch.Field + ": unexpected " + mismatch.Value)
	case err != nil:
		return m, errors.New(`want {"type":"subscribe","device":[…],"metric":[…],"after":"…"}`)
	}
	return m, nil
}

// options returns what the viewer wants. Its errors are for the viewer.
func (m *subscribeMessage) options() (push.Options, error) {
	if m.Last < 0 || m.Last > push.MaxLast {
		return push.Options{}, errors.New("last: want a number from 1 to " + strconv.Itoa(push.MaxLast))
	}
	sel, err := device.NewSelector(m.Device, m.Metric)
	if err != nil {
		return push.Options{}, err
	}
	policy, err := push.ParsePolicy(m.Policy, m.Every, strings.Trim(string(m.Deadband), `"`))
	if err != nil {
		return push.Options{}, err
	}
	o := push.Options{Selector: sel, Policy: policy, Last: m.Last, Presence: m.Presence}
	if m.After != "" {
		after, err := push.ParseCursor(m.After)
		if err != nil {
			return push.Options{}, errors.New("after: " + err.Error())
		}
		o.After = &after
	}
	return o, nil
}
