package policy

import (
	"maps"
	"sync"
	"time"
)

// Japan's holidays by law: 国民の祝日に関する法律 (昭和23年法律第178号, Act on National Holidays). Article 2 names the days,
// article 3 (2) makes the next day that is none a holiday when one falls on a Sunday (振替休日), and article 3 (3) a day
// between two of them (国民の休日). Years before 2019 are not covered and have none.
//
// The two equinoxes are astronomical: the days are announced in the February of the year before (暦要項, in the official
// gazette) and computed here by the usual approximation, good until 2150. A calendar of one's own in windows.yaml adds what a
// later law or an announcement changes.
const firstHolidays = 2019

// holidays is the built-in calendar. It is safe for concurrent use.
type holidays struct{ years sync.Map } // of year to map[date]bool

// has says whether d is a national holiday of Japan.
func (h *holidays) has(d date) bool {
	if d.year < firstHolidays {
		return false
	}
	known, ok := h.years.Load(d.year)
	if !ok {
		known, _ = h.years.LoadOrStore(d.year, holidaysOf(d.year))
	}
	return known.(map[date]bool)[d]
}

func holidaysOf(year int) map[date]bool {
	named := namedHolidays(year)
	all := maps.Clone(named)
	for d := range named {
		if between := d.add(1); !named[between] && named[d.add(2)] { // article 3 (3)
			all[between] = true
		}
		if d.weekday() == time.Sunday { // article 3 (2)
			next := d.add(1)
			for named[next] {
				next = next.add(1)
			}
			all[next] = true
		}
	}
	return all
}

// namedHolidays are those of article 2, and those that special laws made of a year.
func namedHolidays(year int) map[date]bool {
	on := func(month time.Month, day int) date { return date{year, month, day} }
	days := map[date]bool{
		on(1, 1):                     true, // 元日
		nthMonday(year, 1, 2):        true, // 成人の日
		on(2, 11):                    true, // 建国記念の日 (政令)
		on(3, vernalEquinox(year)):   true, // 春分の日
		on(4, 29):                    true, // 昭和の日
		on(5, 3):                     true, // 憲法記念日
		on(5, 4):                     true, // みどりの日
		on(5, 5):                     true, // こどもの日
		nthMonday(year, 9, 3):        true, // 敬老の日
		on(9, autumnalEquinox(year)): true, // 秋分の日
		on(11, 3):                    true, // 文化の日
		on(11, 23):                   true, // 勤労感謝の日
	}
	if year >= 2020 {
		days[on(2, 23)] = true // 天皇誕生日
	}
	for _, d := range movableHolidays(year) {
		days[d] = true
	}
	return days
}

// movableHolidays are 海の日, 山の日 and スポーツの日 (体育の日 until 2019), which the Olympic games of Tokyo moved
// (平成27年法律第33号 as amended), and the two days of the enthronement (平成30年法律第99号).
func movableHolidays(year int) []date {
	switch year {
	case 2019:
		return []date{{2019, 5, 1}, {2019, 10, 22}, {2019, 7, 15}, {2019, 8, 11}, {2019, 10, 14}}
	case 2020:
		return []date{{2020, 7, 23}, {2020, 8, 10}, {2020, 7, 24}}
	case 2021:
		return []date{{2021, 7, 22}, {2021, 8, 8}, {2021, 7, 23}}
	}
	return []date{nthMonday(year, 7, 3), {year, 8, 11}, nthMonday(year, 10, 2)}
}

// nthMonday is the n-th Monday of a month.
func nthMonday(year int, month time.Month, n int) date {
	first := date{year, month, 1}
	return first.add((8-int(first.weekday()))%7 + 7*(n-1))
}

// vernalEquinox is its day in March, in Japan.
func vernalEquinox(year int) int { return equinox(year, 20.8431, 21.8510) }

// autumnalEquinox is its day in September, in Japan.
func autumnalEquinox(year int) int { return equinox(year, 23.2488, 24.2488) }

// equinox is the approximation for the years from 1980 (first) and from 2100, which is no leap year, on (second).
func equinox(year int, first, second float64) int {
	if year >= 2100 {
		first = second
	}
	since := year - 1980
	return int(first+0.242194*float64(since)) - since/4
}
