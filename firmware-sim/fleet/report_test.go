package fleet

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestReportIsBounded(t *testing.T) {
	t.Parallel()
	var s stats
	for i := range 1000 {
		s.refuse(fmt.Sprint(i, strings.Repeat("x", i)))
		s.fail(errors.New("failed"))
	}
	r := s.report()
	if len(r.Refused) != maxReasons+1 || r.Refused["other"] != 1000-maxReasons {
		t.Errorf("%d reasons, %d others", len(r.Refused), r.Refused["other"])
	}
	for reason := range r.Refused {
		if len(reason) > maxReasonLen {
			t.Errorf("reason of %d bytes", len(reason))
		}
	}
	if len(r.FirstErrors) != maxFirstErrors || r.Errors != 1000 {
		t.Errorf("%d errors, %d of them kept", r.Errors, len(r.FirstErrors))
	}
}

func TestReportElapsed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s stats
		if r := s.report(); r.Elapsed != 0 || r.Rate() != 0 {
			t.Errorf("before the start: %v", r.Elapsed)
		}
		s.begin()
		pause(t.Context(), 2*time.Second)
		s.readings.Add(100)
		if r := s.report(); r.Elapsed != 2*time.Second || r.Rate() != 50 {
			t.Errorf("under way: %v, %v readings/s", r.Elapsed, r.Rate())
		}
		s.end()
		pause(t.Context(), time.Second)
		if r := s.report(); r.Elapsed != 2*time.Second {
			t.Errorf("at the end: %v", r.Elapsed)
		}
	})
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want answer
		ok   bool
	}{
		{`{"ack":7}`, answer{verdict: acked, seq: 7, hasSeq: true}, true},
		{"{\"ack\":0}\r\n", answer{verdict: acked, hasSeq: true}, true},
		{`{"ack":18446744073709551615}`, answer{verdict: acked, seq: 1<<64 - 1, hasSeq: true}, true},
		{`{"ack":null}`, answer{verdict: acked}, true},
		{`{"error":"syntax","seq":7}`, answer{verdict: refused, seq: 7, hasSeq: true, reason: "syntax"}, true},
		{`{"error":"too_long"}`, answer{verdict: refused, reason: "too_long"}, true},
		{`{"ack":7,"hint":{"a":[1]}}`, answer{verdict: acked, seq: 7, hasSeq: true}, true},
		{`{"ack":-1}`, answer{}, false},
		{`{"ack":1.5}`, answer{}, false},
		{`{"ack":"7"}`, answer{}, false},
		{`{}`, answer{}, false},
		{`[]`, answer{}, false},
		{`{"ack":7`, answer{}, false},
		{``, answer{}, false},
	}
	for _, tt := range tests {
		got, err := parseAnswer([]byte(tt.in))
		if !reflect.DeepEqual(got, tt.want) || (err == nil) != tt.ok {
			t.Errorf("%q: %+v, error %v", tt.in, got, err)
		}
	}
}

// FuzzAnswers holds that an answer is an acknowledgement, a refusal or an error
// whose text is bounded.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte(`{"ack":7}`))
	f.Add([]byte(`{"error":"syntax","seq":7}`))
	f.Add([]byte(`{"ack":null,"error":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := parseAnswer(b)
		switch {
		case err != nil && !reflect.DeepEqual(a, answer{}):
			t.Errorf("%q: %+v beside an error", b, a)
		case err != nil && len(err.Error()) > 1000:
			t.Errorf("an error of %d bytes", len(err.Error()))
		case err == nil && a.verdict != acked && a.verdict != refused, a.verdict == acked && a.reason != "":
			t.Errorf("%q: %+v", b, a)
		}
	})
}
