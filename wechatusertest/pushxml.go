package wechatusertest

import (
	"encoding/xml"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
)

// xmlWriter writes XML like the platform: one element a line, and each text in a CDATA section.
type xmlWriter struct{ b []byte }

func (w *xmlWriter) lit(text string) { w.b = append(w.b, text...) }

func (w *xmlWriter) text(name, value string) {
	w.lit("<" + name + "><![CDATA[")
	w.lit(strings.ReplaceAll(value, "]]>", "]]]]><![CDATA[>"))
	w.lit("]]></" + name + ">\n")
}

func (w *xmlWriter) number(name string, n int64) {
	w.lit("<" + name + ">")
	w.b = strconv.AppendInt(w.b, n, 10)
	w.lit("</" + name + ">\n")
}

// pushXML returns the XML of an event. A subscribe without a QR code has an empty EventKey, as in pushes that
// developers have published; the documentation does not mention it.
func pushXML(to string, e *pushEvent) []byte {
	if e.xml != "" {
		return []byte(e.xml)
	}
	w := &xmlWriter{b: make([]byte, 0, 512)}
	w.lit("<xml>")
	w.text("ToUserName", to)
	w.text("FromUserName", e.from())
	w.number("CreateTime", e.created)
	w.text("MsgType", "event")
	w.text("Event", e.event)
	for _, f := range e.fields {
		w.text(f.name, f.value)
	}
	w.lit("</xml>")
	return w.b
}

// envelope returns the body of an encrypted push. In compatible mode it also has the elements of the plain XML.
func envelope(to string, plain []byte, encrypted string, compatible bool) []byte {
	w := &xmlWriter{b: make([]byte, 0, len(plain)+len(encrypted)+128)}
	if end := strings.LastIndex(string(plain), "</xml>"); compatible && end >= 0 {
		w.b = append(w.b, plain[:end]...)
	} else {
		w.lit("<xml>")
		w.text("ToUserName", to)
	}
	w.text("Encrypt", encrypted)
	w.lit("</xml>")
	return w.b
}

// pushReply holds the elements of a reply that the simulator checks.
type pushReply struct {
	XMLName      xml.Name `xml:"xml"`
	MsgType      string
	Encrypt      string
	MsgSignature string
	TimeStamp    string
	Nonce        string
}

// parseReply parses a reply. It returns an error if anything follows the XML.
func parseReply(body string) (r pushReply, err error) {
	dec := xml.NewDecoder(strings.NewReader(body))
	if err := dec.Decode(&r); err != nil {
		return r, errNotAReply
	}
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return r, nil
		}
		if text, ok := token.(xml.CharData); err != nil || !ok || strings.TrimSpace(string(text)) != "" {
			return r, errNotAReply
		}
	}
}

var errNotAReply = errors.New(`the response is not empty, "success" or the XML of a reply`)

// qrTicket returns the ticket of the QR code with a scene. It is the same for each scan.
func qrTicket(appID, scene string) string {
	return "gQFAKE" + shortHash("ticket", appID, scene)
}

// unixText returns a time as the platform writes it in a query.
func unixText(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }
