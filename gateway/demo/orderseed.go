package demo

import (
	"fmt"
	"strconv"
	"time"
)

var (
	seedCompanies = []string{
		"株式会社青空商店", "有限会社みどり工務店", "やまびこ食品株式会社", "北斗電機株式会社", "さくら文具店", "海風水産株式会社",
		"株式会社こだま印刷", "つばめ運送有限会社",
	}
	seedItems = []struct {
		name  string
		price int
	}{
		{"A4 コピー用紙 500枚", 480}, {"LED 電球 60W形", 1280}, {"業務用洗剤 5L", 2350}, {"段ボール箱 120サイズ", 190},
		{"ネットワークケーブル 10m", 980}, {"卓上ライト", 4620},
	}
	seedPeople = []string{
		"佐藤 花子", "鈴木 一郎", "高橋 美咲", "田中 健", "伊藤 結衣", "渡辺 陸", "山本 空", "中村 翼", "小林 葵", "加藤 蓮",
	}
	seedCities = []string{"札幌市", "仙台市", "横浜市", "名古屋市", "大阪市", "広島市", "福岡市", "那覇市"}
)

// demoOrders are two dozen orders of the last days.
func demoOrders(now time.Time) []order {
	var orders []order
	for i := range 24 {
		item := seedItems[i*5%len(seedItems)]
		o := order{
			Customer: seedCompanies[i*3%len(seedCompanies)], Item: item.name, Price: item.price, Quantity: 1 + i*7%40,
			Status: orderStatuses[i%3].Name, Updated: now.Add(-time.Duration(24-i) * 7 * time.Hour).UTC().Truncate(time.Second),
		}
		if i%6 == 5 {
			o.Note = "午前中に配達希望"
		}
		orders = append(orders, o)
	}
	return orders
}

// demoCustomers is the table of the export: a header and CustomerCount rows. Nobody in it exists.
func demoCustomers() [][]string {
	rows := [][]string{{"id", "company", "contact", "city", "email"}}
	for i := range CustomerCount {
		rows = append(rows, []string{
			strconv.Itoa(i + 1), seedCompanies[i%len(seedCompanies)], seedPeople[i*7%len(seedPeople)],
			seedCities[i*3%len(seedCities)], fmt.Sprintf("customer%03d@example.jp", i+1),
		})
	}
	return rows
}
