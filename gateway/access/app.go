package access

// AppAt names the HTTPS target that answers to a host name (lower case, without port). For a host that no app has it is a
// name that no target can have, which Open refuses like any target that is not the person's.
func (d *Door) AppAt(host string) string {
	if t, ok := d.cfg.Directory.Current().TargetByHost(host); ok {
		return t.Name
	}
	return "host:" + host
}
