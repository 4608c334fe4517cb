package api

import (
	"net/http"

	"rsc.io/qr"

	"github.com/naru-telemetry/naru/push"
)

// qrCode answers with the QR code of the body, a text that is for nobody's log. It
// keeps nothing.
func (a *API) qrCode(w http.ResponseWriter, r *http.Request) {
	text, err := shortBody(r)
	if err != nil {
		push.Refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	rows := qrRows(string(text))
	if rows == nil {
		push.Refuse(w, http.StatusBadRequest, "the text is too long for a QR code")
		return
	}
	reply(w, map[string]any{"qr": rows})
}

// qrRows returns the modules of the QR code of a text; nil when it is too long,
// which nothing that is made here is.
func qrRows(text string) (rows []string) {
	code, err := qr.Encode(text, qr.M)
	if err != nil {
		return nil
	}
	for y := range code.Size {
		row := make([]byte, code.Size)
		for x := range row {
			row[x] = ' '
			if code.Black(x, y) {
				row[x] = '#'
			}
		}
		rows = append(rows, string(row))
	}
	return rows
}
