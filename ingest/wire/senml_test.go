package wire

import "testing"

func TestDecodeSenML(t *testing.T) {
	const mac = "urn:dev:ow:10e2073a01080063"
	runDecode(t, false, []decodeCase{
		// The examples of RFC 8428, section 5.1.
		{"5.1.1 single", `[{"n":"urn:dev:ow:10e2073a01080063","u":"Cel","v":23.1}]`, []string{"senml urn:dev:ow: 10e2073a01080063=23.1"}},
		{"5.1.2 multiple", `[
			{"n":"urn:dev:ow:10e2073a01080063:voltage","u":"V","v":120.1},
			{"n":"urn:dev:ow:10e2073a01080063:current","u":"A","v":1.2}
		]`, []string{"senml " + mac + ": voltage=120.1", "senml " + mac + ": current=1.2"}},
		{"5.1.2 base", `[
			{"bn":"urn:dev:ow:10e2073a0108006:","bt":1.276020076001e+09,"bu":"A","bver":5,"n":"voltage","u":"V","v":120.1},
			{"n":"current","t":-5,"v":1.2},
			{"n":"current","t":-4,"v":1.3}
		]`, []string{
			"senml urn:dev:ow:10e2073a0108006 @1276020076.001s: voltage=120.1",
			"senml urn:dev:ow:10e2073a0108006 @1276020071.001s: current=1.2",
			"senml urn:dev:ow:10e2073a0108006 @1276020072.001s: current=1.3",
		}},
		{"5.1.3 series", `[
			{"bn":"urn:dev:ow:10e2073a01080063","bt":1.320067464e+09,"bu":"%RH","v":20},
			{"u":"lon","v":24.30621},
			{"u":"lat","v":60.07965},
			{"t":60,"v":20.3},
			{"u":"lon","t":60,"v":24.30622}
		]`, []string{
			"senml urn:dev:ow @1320067464s: 10e2073a01080063=20i",
			"senml urn:dev:ow @1320067464s: 10e2073a01080063=24.30621",
			"senml urn:dev:ow @1320067464s: 10e2073a01080063=60.07965",
			"senml urn:dev:ow @1320067524s: 10e2073a01080063=20.3",
			"senml urn:dev:ow @1320067524s: 10e2073a01080063=24.30622",
		}},
		{"5.1.5 kinds", `[
			{"bn":"urn:dev:ow:10e2073a01080063:","n":"temp","u":"Cel","v":23.1},
			{"n":"label","vs":"Machine Room"},
			{"n":"open","vb":false},
			{"n":"nfc-reader","vd":"aGkgCg"}
		]`, []string{
			"senml " + mac + ": temp=23.1",
			`senml ` + mac + `: label="Machine Room"`,
			"senml " + mac + ": open=false",
			"senml (line 5, byte 27: data values (vd) are not kept)",
		}},
		{"5.1.6 collection", `[
			{"bn":"2001:db8::2/","bt":1.320078429e+09,"n":"temperature","u":"Cel","v":25.2},
			{"n":"humidity","u":"%RH","v":30},
			{"bn":"2001:db8::1/","n":"temperature","u":"Cel","v":12.3}
		]`, []string{
			"senml 2001:db8::2 @1320078429s: temperature=25.2",
			"senml 2001:db8::2 @1320078429s: humidity=30i",
			"senml 2001:db8::1 @1320078429s: temperature=12.3",
		}},
		{"5.1.7 actuator", `[{"bn":"urn:dev:ow:10e2073a01080063:"},{"n":"temp","u":"Cel","v":23.1},{"n":"heat","u":"/","v":1},{"n":"fan","u":"/","v":0}]`, []string{
			"senml:", "senml " + mac + ": temp=23.1", "senml " + mac + ": heat=1i", "senml " + mac + ": fan=0i",
		}},
		// The sum, and what the sections 4.1 and 4.6 say.
		{"sum beside a value", `[{"n":"d/e","v":1,"s":2.5}]`, []string{"senml d: e=1i e.sum=2.5"}},
		{"sum alone", `[{"n":"d/e","s":5}]`, []string{"senml d: e.sum=5i"}},
		{"base sum", `[{"bn":"d/","bs":10,"n":"e","s":1},{"n":"e","s":2}]`, []string{"senml d: e.sum=11i", "senml d: e.sum=12i"}},
		{"base value", `[{"bn":"d/","bv":20,"n":"a","v":1.5},{"n":"a","v":2},{"n":"b","vb":true},{"n":"c"}]`, []string{"senml d: a=21.5", "senml d: a=22i", "senml d: b=true", "senml d: c=20i"}},
		{"base value beyond 64 bits", `[{"bn":"d/","bv":9223372036854775807,"n":"a","v":1},{"n":"a","v":-1}]`, []string{"senml d: a=9.223372036854776e+18", "senml d: a=9223372036854775806i"}},
		{"base replaced", `[{"bn":"d/","bt":1764000000,"n":"a","v":1},{"bn":"e/","bt":1764000100,"n":"a","v":1},{"n":"a","t":1,"v":1}]`, []string{
			"senml d @1764000000s: a=1i", "senml e @1764000100s: a=1i", "senml e @1764000101s: a=1i",
		}},
		{"base does not reach into the next pack", `[{"bn":"d/","bv":1,"n":"a","v":1}][{"n":"a","v":1}]`, []string{"senml d: a=2i", "senml: a=1i"}},
		{"base only in a later record", `[{"n":"d/a","v":1},{"bn":"e/"},{"n":"b","v":2}]`, []string{"senml d: a=1i", "senml:", "senml e: b=2i"}},
		{"relative time", `[{"n":"d/a","t":-10.5,"v":1},{"n":"d/a","v":1}]`, []string{"senml d @-10.5ago: a=1i", "senml d: a=1i"}},
		{"slash before colon", `[{"n":"urn:dev:x/t:1","v":1}]`, []string{"senml urn:dev:x: t:1=1i"}},
		{"neither slash nor colon", `[{"n":"a","v":1}]`, []string{"senml: a=1i"}},
		{"base time tells the format", `[{"bt":1764000000,"n":"a","v":1}]`, []string{"senml @1764000000s: a=1i"}},
		{"unknown fields", `[{"n":"d/a","v":1,"x":{"y":[1]},"ut":5,"u":"V"}]`, []string{"senml d: a=1i"}},
		{"n in an array of plain objects", `[{"device":"d","n":"a","v":1}]`, []string{`json d: n="a" v=1i`}},
		{"n is a number in a plain object", `[{"n":1,"v":1}]`, []string{`json: n=1i v=1i`}},
	})
}

func TestDecodeSenMLErrors(t *testing.T) {
	runDecode(t, false, []decodeCase{
		{"between good ones", `[{"n":"d/a","v":1},{"n":"d/b","v":"x"},{"n":"d/c","v":3}]`, []string{"senml d: a=1i", "senml (line 1, byte 35: v and s must be numbers)", "senml d: c=3i"}},
		{"neither value nor sum", `[{"n":"d/a"}]`, []string{"senml (line 1, byte 12: a record has neither a value nor a sum)"}},
		{"name", `[{"bn":"d/","n":5,"v":1}]`, []string{"senml (line 1, byte 17: the name must be a text)"}},
		{"vs", `[{"n":"d/a","vs":5}]`, []string{"senml (line 1, byte 18: vs must be a text)"}},
		{"vb", `[{"n":"d/a","vb":5}]`, []string{"senml (line 1, byte 18: vb must be a boolean)"}},
		{"time", `[{"n":"d/a","v":5,"t":"now"}]`, []string{"senml (line 1, byte 23: a time must be a number)"}},
		{"sum", `[{"n":"d/a","s":"x"}]`, []string{"senml (line 1, byte 17: v and s must be numbers)"}},
		{"must understand", `[{"n":"d/a","v":5,"x_":1}]`, []string{"senml (line 1, byte 24: a field whose name ends with _ must be understood and is not)"}},
		{"record that is no object", `[{"n":"d/a","v":5},7,{"n":"d/a","v":6}]`, []string{"senml d: a=5i", "senml (line 1, byte 20: want an object in the array)", "senml d: a=6i"}},
		{"version", `[{"bn":"d/","bver":11,"n":"a","v":1},{"n":"b","v":1}]`, []string{
			"senml (line 1, byte 20: a SenML version above 10 is not known)",
			"senml (line 1, byte 52: a base field of a record before is wrong)",
		}},
		{"wrong base name, until the next", `[{"bn":"d/","n":"a","v":1},{"bn":5,"n":"a","v":1},{"n":"a","v":1},{"bn":"e/","n":"a","v":1}]`, []string{
			"senml d: a=1i",
			"senml (line 1, byte 34: the base name must be a text)",
			"senml (line 1, byte 65: a base field of a record before is wrong)",
			"senml e: a=1i",
		}},
		{"wrong base time", `[{"bn":"d/","bt":"x","n":"a","v":1}]`, []string{"senml (line 1, byte 18: the base time must be a number)"}},
		{"wrong base value", `[{"bn":"d/","bv":"x","n":"a","v":1}]`, []string{"senml (line 1, byte 18: bv and bs must be numbers)"}},
		{"wrong base sum", `[{"bn":"d/","bs":"x","n":"a","v":1}]`, []string{"senml (line 1, byte 18: bv and bs must be numbers)"}},
		{"malformed record ends the pack", "[{\"bn\":\"d/\",\"n\":\"a\",\"v\":1},{\"n\":\"b\",\"v\":},{\"n\":\"c\",\"v\":3}]\nm v=1", []string{
			"senml d: a=1i", "senml (line 1, byte 41: want a value)", "line: m.v=1",
		}},
		{"truncated pack", "[{\"bn\":\"d/\",\"n\":\"a\",\"v\":1}\n{\"n\":\"b\",\"v\":2}\n[{\"n\":\"e/c\",\"v\":3}]", []string{
			"senml d: a=1i", "senml (line 2, byte 1: want a comma or the closing bracket)", "senml e: c=3i",
		}},
	})
}
