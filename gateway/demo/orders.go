package demo

import (
	"cmp"
	"embed"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

const (
	maxOrders    = 1000
	maxOrderBody = 64 << 10
	maxOrderText = 200 // characters of a customer, item or note
)

// CustomerCount is how many rows GET /export/customers gives: the table's total for directory rules.
const CustomerCount = 128

//go:embed orders
var ordersFiles embed.FS

var ordersPages = template.Must(template.New("orders").Funcs(template.FuncMap{"yen": yen}).
	ParseFS(ordersFiles, "orders/*.html"))

// OrdersConfig says whom the app believes.
type OrdersConfig struct {
	JWKS     func() []byte // the gateway's key set, asked anew for each request
	Audience string        // the app's own host name; tokens for another app are refused
	Issuer   string        // optional: the one issuer that is believed
	Now      func() time.Time
}

// Orders is a small order book behind the gateway: pages with forms, a JSON API and a CSV export. It has no login of its
// own: it believes the X-Sekisho-Identity token and serves nobody without one, so going around the gateway is no use.
// Its state is in memory and starts afresh with the program.
type Orders struct {
	verify  verifier
	handler http.Handler
	now     func() time.Time

	mu     sync.Mutex
	orders map[int]order
	next   int
}

// order is one row. The JSON form is also what the API takes; id and updated are ignored there.
type order struct {
	ID       int       `json:"id"`
	Customer string    `json:"customer"`
	Item     string    `json:"item"`
	Quantity int       `json:"quantity"`
	Price    int       `json:"price"`  // yen for one
	Status   string    `json:"status"` // new | packed | shipped | cancelled
	Note     string    `json:"note"`
	Updated  time.Time `json:"updated"`
}

// Total is what the whole order costs, in yen.
func (o order) Total() int { return o.Quantity * o.Price }

// orderStatus is a status with its Japanese word.
type orderStatus struct{ Name, JA string }

var orderStatuses = []orderStatus{{"new", "受付"}, {"packed", "出荷準備"}, {"shipped", "出荷済"}, {"cancelled", "取消"}}

// StatusJA is the status as the page shows it.
func (o order) StatusJA() string {
	for _, s := range orderStatuses {
		if s.Name == o.Status {
			return s.JA
		}
	}
	return o.Status
}

func (o order) check() error {
	for _, field := range []struct{ name, text string }{{"customer", o.Customer}, {"item", o.Item}, {"note", o.Note}} {
		if !utf8.ValidString(field.text) || utf8.RuneCountInString(field.text) > maxOrderText {
			return fmt.Errorf("%s: want at most %d characters", field.name, maxOrderText)
		}
	}
	switch {
	case o.Customer == "" || o.Item == "":
		return errors.New("customer and item are required")
	case o.Quantity < 1 || o.Quantity > 100000:
		return errors.New("quantity: want 1 to 100000")
	case o.Price < 0 || o.Price > 100_000_000:
		return errors.New("price: want 0 to 100000000")
	case !slices.ContainsFunc(orderStatuses, func(s orderStatus) bool { return s.Name == o.Status }):
		return errors.New("status: want new, packed, shipped or cancelled")
	}
	return nil
}

// NewOrders makes the app with its demo rows.
func NewOrders(cfg OrdersConfig) (*Orders, error) {
	if cfg.JWKS == nil || cfg.Audience == "" {
		return nil, errors.New("orders app: JWKS and Audience are required: without them anybody could be anybody")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	a := &Orders{verify: verifier{cfg}, now: cfg.Now, orders: map[int]order{}, next: 1001}
	for _, o := range demoOrders(cfg.Now()) {
		a.add(o)
	}
	static, err := fs.Sub(ordersFiles, "orders")
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", http.RedirectHandler("/orders", http.StatusSeeOther))
	mux.HandleFunc("GET /orders", a.list)
	mux.HandleFunc("POST /search", a.search)
	mux.HandleFunc("POST /orders", a.create)
	mux.HandleFunc("GET /orders/{id}", a.edit)
	mux.HandleFunc("POST /orders/{id}", a.save)
	mux.HandleFunc("POST /orders/{id}/ship", a.ship)
	mux.HandleFunc("GET /export/customers", a.export)
	mux.HandleFunc("GET /whoami", a.whoami)
	mux.HandleFunc("GET /api/orders", a.apiList)
	mux.HandleFunc("POST /api/orders", a.apiCreate)
	mux.HandleFunc("GET /api/orders/{id}", a.apiGet)
	mux.HandleFunc("PUT /api/orders/{id}", a.apiPut)
	mux.HandleFunc("PATCH /api/orders/{id}", a.apiPatch)
	mux.HandleFunc("DELETE /api/orders/{id}", a.apiDelete)
	files := http.FileServerFS(static)
	mux.Handle("GET /app.js", files)
	mux.Handle("GET /app.css", files)
	// Forms from another site are refused: a contractor's browser carries its certificate everywhere.
	a.handler = a.identified(http.NewCrossOriginProtection().Handler(mux))
	return a, nil
}

func (a *Orders) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.handler.ServeHTTP(w, r) }

// identified lets through only what the gateway vouches for.
func (a *Orders) identified(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "+
			"form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		who, err := a.verify.visitor(r.Header)
		if err != nil {
			problem(w, http.StatusUnauthorized, "come through the gateway: "+err.Error())
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxOrderBody)
		next.ServeHTTP(w, r.WithContext(withVisitor(r.Context(), who)))
	})
}

// all lists the orders whose customer, item or note holds q, newest first.
func (a *Orders) all(q string) []order {
	a.mu.Lock()
	defer a.mu.Unlock()
	var found []order
	for _, o := range a.orders {
		if strings.Contains(strings.ToLower(o.Customer+"\n"+o.Item+"\n"+o.Note), strings.ToLower(q)) {
			found = append(found, o)
		}
	}
	slices.SortFunc(found, func(x, y order) int { return cmp.Compare(y.ID, x.ID) })
	return found
}

// add gives the order its number; ok is false when the book is full.
func (a *Orders) add(o order) (_ order, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.orders) >= maxOrders {
		return o, false
	}
	o.ID = a.next
	a.next++
	a.orders[o.ID] = o
	return o, true
}

// change replaces one order by what the function makes of it.
func (a *Orders) change(id int, by func(order) (order, error)) (order, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	o, ok := a.orders[id]
	if !ok {
		return o, errNoOrder
	}
	changed, err := by(o)
	if err != nil {
		return o, err
	}
	if err := changed.check(); err != nil {
		return o, err
	}
	changed.ID, changed.Updated = id, a.now().UTC()
	a.orders[id] = changed
	return changed, nil
}

var errNoOrder = errors.New("no such order")

func (a *Orders) find(r *http.Request) (order, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	id, err := strconv.Atoi(r.PathValue("id"))
	if o, ok := a.orders[id]; err == nil && ok {
		return o, nil
	}
	return order{}, errNoOrder
}

// page is what every template gets.
type page struct {
	Who      visitor
	Query    string
	Orders   []order
	Order    order
	Statuses []orderStatus
}

func (a *Orders) render(w http.ResponseWriter, r *http.Request, name string, p page) {
	p.Who, p.Statuses = visitorOf(r.Context()), orderStatuses
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	ordersPages.ExecuteTemplate(w, name, p)
}

func (a *Orders) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query().Get("q")
	a.render(w, r, "list.html", page{Query: q, Orders: a.all(q)})
}

// search is a POST that only reads, as many apps have one: a path rule in the directory says so.
func (a *Orders) search(w http.ResponseWriter, r *http.Request) {
	form, err := readForm(r)
	if err != nil {
		fail(w, err)
		return
	}
	a.render(w, r, "list.html", page{Query: form.Get("q"), Orders: a.all(form.Get("q"))})
}

func (a *Orders) edit(w http.ResponseWriter, r *http.Request) {
	o, err := a.find(r)
	if err != nil {
		fail(w, err)
		return
	}
	a.render(w, r, "edit.html", page{Order: o})
}

func (a *Orders) create(w http.ResponseWriter, r *http.Request) {
	o, err := readOrderForm(r)
	if err == nil {
		o.Updated = a.now().UTC()
		err = o.check()
	}
	if err != nil {
		fail(w, err)
		return
	}
	if _, ok := a.add(o); !ok {
		fail(w, errFull)
		return
	}
	http.Redirect(w, r, "/orders", http.StatusSeeOther)
}

func (a *Orders) save(w http.ResponseWriter, r *http.Request) {
	changed, err := readOrderForm(r)
	if err != nil {
		fail(w, err)
		return
	}
	a.changed(w, r, func(order) (order, error) { return changed, nil })
}

func (a *Orders) ship(w http.ResponseWriter, r *http.Request) {
	a.changed(w, r, func(o order) (order, error) {
		if o.Status == "cancelled" {
			return o, errors.New("a cancelled order cannot be shipped")
		}
		o.Status = "shipped"
		return o, nil
	})
}

func (a *Orders) changed(w http.ResponseWriter, r *http.Request, by func(order) (order, error)) {
	o, err := a.find(r)
	if err == nil {
		_, err = a.change(o.ID, by)
	}
	if err != nil {
		fail(w, err)
		return
	}
	http.Redirect(w, r, "/orders", http.StatusSeeOther)
}

func (a *Orders) export(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="customers.csv"`)
	c := csv.NewWriter(w)
	c.WriteAll(demoCustomers()) // an error is the client's going away
}

func (a *Orders) whoami(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, visitorOf(r.Context()))
}

var (
	errFull      = fmt.Errorf("the order book is full at %d orders", maxOrders)
	errMediaType = errors.New("unexpected Content-Type")
)

// fail turns a handler's error into its status.
func fail(w http.ResponseWriter, err error) {
	var long *http.MaxBytesError
	switch {
	case errors.Is(err, errNoOrder):
		problem(w, http.StatusNotFound, err.Error())
	case errors.Is(err, errFull):
		problem(w, http.StatusInsufficientStorage, err.Error())
	case errors.Is(err, errMediaType):
		problem(w, http.StatusUnsupportedMediaType, err.Error())
	case errors.As(err, &long):
		problem(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("want at most %d bytes", maxOrderBody))
	default:
		problem(w, http.StatusBadRequest, err.Error())
	}
}

// problem is an error as JSON, for people and programs alike.
func problem(w http.ResponseWriter, status int, message string) {
	writeJSON(w, status, map[string]string{"error": message})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

func readForm(r *http.Request) (url.Values, error) {
	if err := mediaType(r, "application/x-www-form-urlencoded"); err != nil {
		return nil, err
	}
	if err := r.ParseForm(); err != nil {
		return nil, err
	}
	return r.PostForm, nil
}

func readOrderForm(r *http.Request) (order, error) {
	form, err := readForm(r)
	if err != nil {
		return order{}, err
	}
	quantity, err := strconv.Atoi(form.Get("quantity"))
	if err != nil {
		return order{}, errors.New("quantity: want a whole number")
	}
	price, err := strconv.Atoi(form.Get("price"))
	if err != nil {
		return order{}, errors.New("price: want a whole number")
	}
	return order{
		Customer: strings.TrimSpace(form.Get("customer")), Item: strings.TrimSpace(form.Get("item")),
		Quantity: quantity, Price: price, Status: form.Get("status"), Note: strings.TrimSpace(form.Get("note")),
	}, nil
}

func mediaType(r *http.Request, want string) error {
	got, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || got != want {
		return fmt.Errorf("%w: want %s", errMediaType, want)
	}
	return nil
}

// yen writes 1234567 as ¥1,234,567.
func yen(n int) string {
	digits := strconv.Itoa(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return "¥" + digits
}
