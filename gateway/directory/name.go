package directory

// Name is what people read, in the two languages of the console. Either may be "".
type Name struct {
	EN string `json:"en,omitempty"`
	JA string `json:"ja,omitempty"`
}

// In returns the name in a language ("en" or "ja"), or the other one when that is all there is.
func (n Name) In(lang string) string {
	if lang == "ja" && n.JA != "" || n.EN == "" {
		return n.JA
	}
	return n.EN
}

func (d *decoder) name(v value) Name {
	var n Name
	d.fields(v, "a name", fields{
		"en": func(v value) { n.EN = d.text(v, 200) },
		"ja": func(v value) { n.JA = d.text(v, 200) },
	})
	return n
}
