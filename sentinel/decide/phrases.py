"""How shops of many countries say that a thing can be had, or not.

Lower case, without accents, hyphens as spaces (see availability.fold). One string per group of languages,
phrases apart by `|`, so that a reader of the language can check a line at a glance.
"""

from __future__ import annotations

from typing import Final

#: It can be had now.
IN_STOCK: Final = (  # noqa: SIM905 - see above
    # en
    "in stock|available now|available|available online|in store now|ready to ship|ships today|"
    "available to ship|available for delivery|available for pickup|low stock|few left|last one|"
    "limited stock|limited availability|almost gone|in stock soon to be gone|ships immediately|"
    "last few|last items|last pieces|last units|final few|selling fast|only a few left|just a few left|"
    # de
    "auf lager|lagernd|sofort lieferbar|sofort verfugbar|verfugbar|vorratig|ab lager|"
    "lieferbar|sofort versandfertig|versandfertig|wenige verfugbar|am lager|online verfugbar|"
    "nur noch wenige|letzte stucke|letztes stuck|letzte exemplare|letztes exemplar|restposten|"
    "letzte artikel|geringer bestand|begrenzter bestand|"
    # fr
    "en stock|disponible|disponible immediatement|disponible en ligne|stock limite|"
    "expedie sous 24h|"
    "derniers exemplaires|dernier exemplaire|dernieres pieces|derniere piece|derniers articles|"
    "dernier article|dernieres unites|stock faible|bientot epuise|plus que quelques exemplaires|"
    # es
    "en existencia|hay existencias|hay stock|con stock|disponible ahora|en inventario|"
    "ultimas unidades|ultima unidad|ultimas existencias|ultimos ejemplares|ultimas piezas|"
    "pocas unidades|quedan pocas unidades|quedan pocos|stock bajo|"
    # it
    "disponibile|disponibilita immediata|in magazzino|pronta consegna|disponibile subito|"
    "in giacenza|"
    "ultimi pezzi|ultimo pezzo|ultimi articoli|ultime disponibilita|pochi pezzi|scorte limitate|"
    # pt
    "em estoque|em stock|disponivel|pronta entrega|disponibilidade imediata|"
    "ultimas pecas|ultima peca|ultimos exemplares|poucas unidades|restam poucas unidades|"
    "estoque baixo|"
    # nl
    "op voorraad|voorradig|direct leverbaar|leverbaar|beschikbaar|uit voorraad leverbaar|"
    "laatste stuks|laatste exemplaren|laatste stuk|beperkte voorraad|nog enkele stuks|bijna uitverkocht|"
    # sv, da, no
    "i lager|finns i lager|tillganglig|pa lager|pa lageret|lagerfort och finns|tilgjengelig|"
    "tilgaengelig|klar til levering|"
    "fa kvar|fatal kvar|fa i lager|fa pa lager|fa tilbage|fa igjen|sista exemplaren|sista exemplaret|"
    "sidste eksemplarer|siste eksemplarer|"
    # fi
    "varastossa|heti saatavilla|saatavilla|heti toimitettavissa|"
    "viimeiset kappaleet|viimeinen kappale|vain muutama jaljella|"
    # pl
    "dostepny|dostepna|dostepne|dostepnosc natychmiastowa|w magazynie|na stanie|od reki|"
    "ostatnie sztuki|ostatnia sztuka|ostatnie egzemplarze|ostatni egzemplarz|mala ilosc|"
    # cs, sk
    "skladem|skladom|na sklade|dostupne|dostupny|k dispozici|ihned k odeslani|ihned k odberu|"
    "k dispozicii|ihned k odoslaniu|na odoslanie|posledni kus skladem|"
    "posledni kus|posledni kusy|posledny kus|posledne kusy|poslednych par kusov|poslednich par kusu|"
    # hu
    "raktaron|keszleten|elerheto|azonnal szallithato|kaphato|"
    "utolso darabok|utolso darab|utolso par darab|"
    # ro
    "in stoc|pe stoc|disponibil|stoc limitat|in stoc furnizor|livrare imediata|"
    "ultimele bucati|ultima bucata|ultimele produse|"
    # hr, sl, sr, bg, el, tr, ru, uk
    "na zalihi|dostupno|na zalogi|na stanju|raspolozivo|dobavljivo|в наличност|наличен|"
    "σε αποθεμα|αμεσα διαθεσιμο|διαθεσιμο|stokta|stokta var|mevcut|в наличии|есть в наличии|"
    "є в наявності|в наявності|на складе|на складі|доступен|доступно|"
    "posljednji komadi|poslednji komadi|zadnji kosi|zadnji kos|последни бройки|последна бройка|"
    "τελευταια κομματια|τελευταια τεμαχια|son urunler|son adetler|последние экземпляры|"
    "последний экземпляр|последние штуки|осталось мало|товар заканчивается|останні екземпляри|"
    "закінчується|"
    # et, lv, lt, is
    "laos|kohe saadaval|saadaval|ir noliktava|pieejams|yra sandelyje|turime sandelyje|til a lager|"
    # ar, he, vi, id, th
    "متوفر|متوفر في المخزون|متاح|في المخزون|במלאי|קיים במלאי|זמין במלאי|con hang|tersedia|stok tersedia|"
    "มีสินค้า|มีในสต็อก|พร้อมส่ง|"
    "เหลือน้อย|สินค้าใกล้หมด|stok terbatas|"
    # ja, zh, ko
    "在庫あり|在庫有り|在庫有|在庫わずか|在庫僅か|在庫僅少|在庫残少|"
    "残りわずか|残り僅か|残少|即納|有货|现货|有貨|現貨|"
    "有库存|有庫存|库存紧张|庫存緊張|即将售罄|即將售罄|即将售完|即將售完|"
    "少量现货|재고 있음|재고있음|품절임박|품절 임박"
).split("|")

#: It cannot be had. Longer phrases swallow the shorter ones of IN_STOCK inside them.
OUT_OF_STOCK: Final = (  # noqa: SIM905 - see above
    # en
    "out of stock|not in stock|no longer in stock|sold out|unavailable|not available|no stock|"
    "currently unavailable|temporarily unavailable|temporarily out of stock|"
    "currently out of stock|no longer available|discontinued|not currently available|"
    "isn't available|is not available|out of print|coming soon|notify me when available|"
    "notify me when back in stock|no availability|notify me when in stock|email me when available|"
    "email when available|when back in stock|back in stock soon|when it is back in stock|"
    "be back in stock|let me know when in stock|email me when back in stock|"
    "when this is back in stock|not in store|none left|none in stock|not available for delivery|"
    "notify me when it is in stock|never in stock|isn't in stock|"
    "back soon|coming back soon|returning soon|restocking soon|more coming soon|more on the way|"
    "not yet available|not yet in stock|to be restocked|"
    # de
    "nicht auf lager|nicht lieferbar|nicht verfugbar|ausverkauft|vergriffen|nicht vorratig|"
    "derzeit nicht verfugbar|derzeit nicht lieferbar|zurzeit nicht lieferbar|"
    "zur zeit nicht lieferbar|momentan nicht verfugbar|momentan nicht lieferbar|"
    "aktuell nicht verfugbar|aktuell nicht lieferbar|nicht mehr lieferbar|nicht mehr verfugbar|"
    "nicht lagernd|leider ausverkauft|nicht mehr auf lager|aktuell nicht auf lager|"
    "kein lagerbestand|nicht erhaltlich|online nicht verfugbar|benachrichtigen sobald verfugbar|"
    "benachrichtigen wenn verfugbar|sobald wieder verfugbar|"
    "bald zuruck|bald wieder da|bald wieder zuruck|bald wieder erhaltlich|bald erhaltlich|kommt bald|"
    "noch nicht verfugbar|noch nicht lieferbar|noch nicht erhaltlich|"
    # fr
    "rupture de stock|en rupture|en rupture de stock|epuise|indisponible|non disponible|"
    "pas en stock|plus en stock|n'est plus disponible|plus disponible|n'est pas disponible|"
    "actuellement indisponible|temporairement indisponible|stock epuise|victime de son succes|"
    "article epuise|m'avertir quand disponible|prevenez moi lorsque disponible|pas disponible|"
    "hors stock|"
    "bientot de retour|de retour bientot|de retour prochainement|prochainement de retour|"
    "bientot en ligne|arrive bientot|pas encore disponible|"
    # es
    "agotado|agotada|sin stock|sin existencias|no disponible|fuera de stock|no hay stock|"
    "no hay existencias|temporalmente agotado|ya no esta disponible|no esta disponible|"
    "avisame cuando este disponible|"
    "de vuelta pronto|pronto de vuelta|vuelve pronto|proximamente disponible|todavia no disponible|"
    "aun no disponible|"
    # it
    "esaurito|esaurita|non disponibile|al momento non disponibile|non in magazzino|terminato|"
    "attualmente non disponibile|prodotto esaurito|avvisami quando disponibile|non piu disponibile|"
    "presto di ritorno|di nuovo presto|torna presto|non ancora disponibile|"
    # pt
    "esgotado|esgotada|indisponivel|fora de estoque|sem estoque|sem stock|fora de stock|"
    "nao disponivel|produto indisponivel|avise me quando disponivel|avise me quando chegar|"
    "de volta em breve|em breve de volta|volta em breve|ainda nao disponivel|"
    # nl
    "uitverkocht|niet op voorraad|niet leverbaar|niet beschikbaar|niet voorradig|"
    "tijdelijk uitverkocht|tijdelijk niet leverbaar|niet meer leverbaar|momenteel niet leverbaar|"
    "tijdelijk niet beschikbaar|niet meer beschikbaar|niet meer op voorraad|"
    "binnenkort terug|binnenkort weer|binnenkort verwacht|nog niet beschikbaar|nog niet leverbaar|"
    # sv, da, no
    "slut i lager|slutsald|ej i lager|inte i lager|finns ej i lager|finns inte i lager|slut|"
    "tillfalligt slut|ikke pa lager|udsolgt|utsolgt|ikke tilgaengelig|ikke tilgjengelig|"
    "ej tillganglig|midlertidigt udsolgt|midlertidig utsolgt|ej pa lager|inte tillganglig|"
    "utgatt|utgaet|"
    "snart tillbaka|snart tilbage|snart tilbake|kommer snart|snart ater|pa vag in|"
    # fi
    "loppu varastosta|loppunut|ei saatavilla|ei varastossa|loppuunmyyty|tilapaisesti loppu|"
    "tulossa pian|pian takaisin|pian taas|"
    # pl
    "niedostepny|niedostepna|niedostepne|brak w magazynie|wyprzedany|wyprzedane|brak towaru|"
    "produkt niedostepny|chwilowo niedostepny|nie jest dostepny|brak na stanie|brak na magazynie|"
    "powiadom o dostepnosci|powiadom gdy dostepny|brak|"
    "wkrotce w sprzedazy|wkrotce w ofercie|jeszcze niedostepny|wkrotce znow|"
    # cs, sk
    "neni skladem|neni skladom|vyprodano|neni na sklade|nedostupne|nedostupny|momentalne nedostupne|"
    "docasne nedostupne|nie je skladom|nie je na sklade|vypredane|momentalne nie je skladom|"
    "momentalne vypredane|momentalne neni skladem|momentalne vyprodano|jiz neni v prodeji|"
    "ukonceno|neni k dispozici|nie je k dispozicii|nie je dostupne|docasne vypredane|"
    "hlidat dostupnost|prodej ukoncen|predaj ukonceny|"
    "brzy v prodeji|brzy zpet|coskoro v predaji|coskoro spat|ocakavame|ocekavame|"
    # hu
    "nincs raktaron|nincs keszleten|elfogyott|nem elerheto|nem kaphato|keszlethiany|kifutott|"
    "jelenleg nem elerheto|jelenleg nem kaphato|nem rendelheto|"
    "hamarosan erkezik|hamarosan ujra|hamarosan visszater|"
    # ro
    "stoc epuizat|indisponibil|nu este in stoc|nu e in stoc|lipsa stoc|fara stoc|"
    "nu mai este disponibil|momentan indisponibil|nu este disponibil|anunta ma cand e disponibil|"
    "epuizat|"
    # hr, sl, sr, bg, el, tr, ru, uk
    "nije dostupno|nema na zalihi|rasprodano|razprodano|ni na zalogi|nije na stanju|"
    "nema na stanju|няма в наличност|изчерпан|не е в наличност|εξαντλημενο|μη διαθεσιμο|"
    "δεν ειναι διαθεσιμο|εξαντληθηκε|tukendi|stokta yok|stokta bulunmuyor|mevcut degil|"
    "нет в наличии|распродано|нет на складе|немає в наявності|недоступен|недоступно|"
    "снят с производства|закончился|отсутствует|немає на складі|"
    "скоро в продаже|скоро поступит|скоро будет|ожидается|ожидается поступление|скоро у продажу|"
    "очікується|очаква се|uskoro u ponudi|uskoro ponovno|kmalu spet|yakinda stokta|yakinda gelecek|"
    "συντομα κοντα σας|"
    # et, lv, lt, is
    "laost otsas|ei ole laos|pole laos|nav noliktava|nav pieejams|izpardots|isparduota|nera sandelyje|"
    "uppselt|"
    # ar, he, vi, id, th
    "غير متوفر|غير متاح|نفد من المخزون|نفذت الكمية|نفدت الكمية|אזל מהמלאי|אזל המלאי|אינו במלאי|לא במלאי|"
    "חסר במלאי|לא זמין|het hang|tam het hang|stok habis|สินค้าหมด|หมดสต็อก|"
    "ไม่มีสินค้า|ไม่มีในสต็อก|ของหมด|sap co hang|segera hadir|"
    # ja, zh, ko
    "在庫なし|在庫切れ|売り切れ|品切れ|完売|"
    "販売終了|販売停止|販売を終了|終売|生産終了|取扱終了|取り扱い終了|"
    "入荷未定|近日入荷|まもなく入荷|近日発売|次回入荷|再入荷待ち|"
    "缺货|缺貨|售罄|已售罄|无货|無貨|售完|已售完|賣完|卖完|没货|沒貨|无现货|無現貨|没有现货|"
    "無庫存|无库存|没有库存|沒有庫存|暂无库存|暫無庫存|"
    "停产|停產|停售|已下架|下架|即将到货|即將到貨|即将上市|即將上市|补货中|補貨中|"
    "품절|일시품절|재고 없음|재고없음|매진|단종|"
    "판매 종료|판매종료|판매 중지|판매중지|입고 예정|입고예정"
).split("|")

#: It can be ordered and comes later, nobody says when.
BACKORDER: Final = (  # noqa: SIM905 - see above
    "backorder|back order|on back order|available on backorder|available on back order|"
    "backordered|pre order|preorder|pre order now|available for pre order|"
    "available for preorder|made to order|special order|available to order|order on request|"
    "can be backordered|pre sale|on order|vorbestellbar|vorbestellen|nachbestellt|"
    "auf bestellung|auf anfrage|jetzt vorbestellen|vorbestellung|bestellbar|wird nachbestellt|"
    "nachlieferung|im zulauf|bestellt|auf bestellung verfugbar|precommande|en precommande|"
    "sur commande|disponible sur commande|precommander|en reapprovisionnement|reserva|"
    "bajo pedido|preventa|disponible bajo pedido|en reserva|pre venta|sobre pedido|preordina|"
    "in arrivo|su ordinazione|su richiesta|preordine|ordinabile|disponibile su ordinazione|"
    "pre venda|sob encomenda|por encomenda|encomenda|pre encomenda|disponivel por encomenda|"
    "pre order nu|nabestelling|in backorder|op bestelling|te reserveren|binnenkort leverbaar|"
    "bestallningsvara|forbestall|forhandsboka|forudbestil|bestillingsvare|forhandsbestill|"
    "pa vej|ennakkotilaus|tilaustuote|ennakkotilaa|tilattavissa|na zamowienie|przedsprzedaz|"
    "dostepny na zamowienie|dostepne na zamowienie|zamow w przedsprzedazy|na objednavku|"
    "predobjednavka|predobjednat|na objednani|dostupne na objednavku|na dotaz|u dodavatele|"
    "na objednavku u dodavatela|u dodavatela|elorendelheto|elorendeles|rendelheto|rendelesre|"
    "kulso raktaron|precomanda|la comanda|disponibil la comanda|in curand|precomanda acum|"
    "po narudzbi|po narocilu|по поръчка|κατοπιν παραγγελιασ|on siparis|под заказ|предзаказ|"
    "під замовлення|передзамовлення|予約受付中|予約|取り寄せ|お取り寄せ|"
    "入荷待ち|入荷予定|受注生産|预售|预订|預購|預訂|预购|예약"
).split("|")

#: Said by buttons; believed only where nothing else is said.
BUTTONS: Final = (  # noqa: SIM905 - see above
    # en
    "add to cart|add to basket|add to bag|add to trolley|add to your basket|add to your cart|"
    "add to your bag|"
    "add to shopping bag|add to shopping cart|add to shopping basket|add to order|buy now|buy it now|"
    "order now|"
    # de
    "in den warenkorb|in den einkaufswagen|in den korb|jetzt kaufen|sofort kaufen|jetzt bestellen|"
    "zum warenkorb hinzufugen|"
    # fr
    "ajouter au panier|acheter|achat immediat|acheter maintenant|ajouter a mon panier|mettre au panier|"
    # es, pt
    "anadir al carrito|agregar al carrito|anadir a la cesta|anadir al carro|agregar al carro|comprar|"
    "comprar ahora|"
    "anadir a la bolsa|anadir a cesta|adicionar ao carrinho|adicionar ao cesto|adicionar a sacola|"
    "comprar agora|"
    # it, ro
    "aggiungi al carrello|acquista|acquista ora|compra ora|aggiungi alla borsa|metti nel carrello|"
    "adauga in cos|"
    "cumpara acum|cumpara|adauga in cosul de cumparaturi|"
    # nl
    "in winkelwagen|in winkelmand|in mijn winkelwagen|in winkelmandje|bestel nu|"
    "toevoegen aan winkelwagen|nu kopen|"
    # sv, da, no, fi
    "lagg i varukorg|lagg i varukorgen|lagg i kundvagn|lagg till i varukorgen|kop|kop nu|laeg i kurv|"
    "laeg i kurven|tilfoj til kurv|"
    "kob|kob nu|legg i handlekurv|legg i handlekurven|legg i handlevogn|kjop|kjop na|lisaa ostoskoriin|"
    "lisaa koriin|osta nyt|osta heti|"
    # pl
    "do koszyka|dodaj do koszyka|kup teraz|kup|wloz do koszyka|"
    # cs, sk
    "do kosiku|pridat do kosiku|vlozit do kosiku|koupit|koupit ihned|do kosika|pridat do kosika|"
    "vlozit do kosika|kupit|kupit hned|"
    # hu
    "kosarba|kosarba teszem|kosarba rakom|megveszem|megvasarolom|"
    # hr, sl, sr, bg, el, tr
    "dodaj u kosaricu|u kosaricu|stavi u kosaricu|dodaj u korpu|u korpu|kupi|kupi odmah|kupi sada|"
    "v kosarico|dodaj v kosarico|"
    "kupi zdaj|narocilo|добави в количката|добави в кошницата|купи|купи сега|поръчай|"
    "προσθηκη στο καλαθι|στο καλαθι|αγορα|"
    "αγορα τωρα|sepete ekle|satin al|hemen al|"
    # et, lv, lt
    "lisa ostukorvi|osta kohe|pievienot grozam|ielikt groza|pirkt|i krepseli|ideti i krepseli|pirkti|"
    # ru, uk
    "в корзину|добавить в корзину|купить|купить в 1 клик|оформить заказ|заказать|до кошика|в кошик|"
    "купити|додати в кошик|"
    # ja, zh, ko, vi, id, th, ar, he
    "カートに入れる|カートに追加|今すぐ買う|今すぐ購入|購入する|加入购物车|加入購物車|放入購物車|"
    "立即购买|立即購買|馬上購買|马上购买|"
    "我要購買|直接購買|장바구니 담기|장바구니에 담기|장바구니|바로구매|구매하기|them vao gio hang|"
    "mua ngay|tambah ke keranjang|"
    "masukkan keranjang|beli sekarang|เพิ่มลงตะกร้า|หยิบใส่ตะกร้า|ซื้อเลย|ซื้อตอนนี้|أضف إلى السلة|"
    "اضف الى السلة|أضف إلى العربة|"
    "اضف الى حقيبة التسوق|أضف إلى حقيبة التسوق|اشتري الآن|اشتر الآن|הוסף לסל|הוספה לסל|הוסף לעגלה|"
    "קנה עכשיו|לרכישה"
).split("|")
