//! The statements that the benchmark's services send to their databases: about forty, as real services have few.

/// A statement to a database.
#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) name: &'static str,
    pub(crate) system: &'static str,
    pub(crate) text: &'static str,
    pub(crate) table: &'static str,
    pub(crate) micros: u64,
}

macro_rules! queries {
    ($($id:ident $system:literal $name:literal $table:literal $micros:literal $text:literal;)*) => {
        $(pub(super) static $id: Query =
            Query { name: $name, system: $system, text: $text, table: $table, micros: $micros };)*
        /// How many statements there are.
        #[cfg(test)]
        pub(super) const COUNT: usize = [$($text),*].len();
    };
}

queries! {
    Q_PRODUCT "postgresql" "SELECT products" "products" 900 "SELECT id, sku, name, brand, category_id FROM products WHERE id = $1";
    Q_PRODUCTS "postgresql" "SELECT products" "products" 2600 "SELECT id, name, price FROM products WHERE category_id = $1 ORDER BY rank LIMIT 48";
    Q_CATEGORY "postgresql" "SELECT categories" "categories" 700 "SELECT id, parent_id, slug, title FROM categories WHERE slug = $1";
    Q_REVIEWS "postgresql" "SELECT reviews" "reviews" 1800 "SELECT author, stars, body FROM reviews WHERE product_id = $1 LIMIT 10";
    Q_IMAGES "postgresql" "SELECT images" "images" 800 "SELECT url, width, height FROM images WHERE product_id = $1";
    Q_FACETS "elasticsearch" "search products" "products-v7" 9000 "{\"query\":{\"match\":{\"name\":?}},\"aggs\":{\"brand\":{\"terms\":{\"field\":?}}}}";
    Q_FULLTEXT "elasticsearch" "search products" "products-v7" 14000 "{\"query\":{\"multi_match\":{\"query\":?,\"fields\":[\"name^3\",\"text\"]}}}";
    Q_SUGGEST "elasticsearch" "search suggest" "suggest-v2" 4000 "{\"suggest\":{\"by_prefix\":{\"prefix\":?,\"completion\":{\"field\":?}}}}";
    Q_SYNONYM "redis" "GET" "synonyms" 200 "GET synonyms:?";
    Q_PRICE "postgresql" "SELECT prices" "prices" 700 "SELECT amount, currency, valid_to FROM prices WHERE sku = $1 AND region = $2";
    Q_DISCOUNT "postgresql" "SELECT discounts" "discounts" 900 "SELECT code, percent, scope FROM discounts WHERE active AND region = $1";
    Q_TAX "redis" "HGET" "tax" 180 "HGET tax:rates ?";
    Q_RATE "redis" "GET" "rates" 170 "GET rates:? EX 300";
    Q_CART_GET "redis" "HGETALL" "cart" 240 "HGETALL cart:?";
    Q_CART_PUT "redis" "HSET" "cart" 260 "HSET cart:? ? ?";
    Q_CART_DEL "redis" "DEL" "cart" 200 "DEL cart:?";
    Q_CART_TTL "redis" "EXPIRE" "cart" 160 "EXPIRE cart:? 1209600";
    Q_SESSION "redis" "GET" "session" 170 "GET session:?";
    Q_SESSION_PUT "redis" "SETEX" "session" 190 "SETEX session:? 3600 ?";
    Q_USER "mssql" "SELECT users" "users" 1400 "SELECT TOP 1 id, email, locale, tier FROM users WHERE id = @p0";
    Q_LOGIN "mssql" "SELECT credentials" "credentials" 1500 "SELECT hash, salt, failed_count FROM credentials WHERE email = @p0";
    Q_TOUCH "mssql" "UPDATE users" "users" 1900 "UPDATE users SET last_seen = @p0 WHERE id = @p1";
    Q_ADDRESS "mssql" "SELECT addresses" "addresses" 1200 "SELECT line1, city, zip, country FROM addresses WHERE user_id = @p0";
    Q_ORDER_PUT "postgresql" "INSERT orders" "orders" 2400 "INSERT INTO orders (id, user_id, total, state) VALUES ($1, $2, $3, $4)";
    Q_LINES_PUT "postgresql" "INSERT order_lines" "order_lines" 1700 "INSERT INTO order_lines (order_id, sku, quantity) VALUES ($1, $2, $3)";
    Q_ORDER "postgresql" "SELECT orders" "orders" 1100 "SELECT id, state, total, placed_at FROM orders WHERE id = $1";
    Q_ORDERS "postgresql" "SELECT orders" "orders" 2900 "SELECT id, state, total FROM orders WHERE user_id = $1 ORDER BY placed_at DESC";
    Q_ORDER_STATE "postgresql" "UPDATE orders" "orders" 2100 "UPDATE orders SET state = $1, updated_at = now() WHERE id = $2";
    Q_STOCK "postgresql" "SELECT stock" "stock" 1000 "SELECT warehouse_id, on_hand, reserved FROM stock WHERE sku = $1";
    Q_RESERVE "postgresql" "UPDATE stock" "stock" 2600 "UPDATE stock SET reserved = reserved + $1 WHERE sku = $2 AND warehouse_id = $3";
    Q_MOVE_PUT "postgresql" "INSERT movements" "movements" 1500 "INSERT INTO movements (sku, delta, reason) VALUES ($1, $2, $3)";
    Q_CHARGE_PUT "postgresql" "INSERT charges" "charges" 2300 "INSERT INTO charges (id, order_id, amount, token) VALUES ($1, $2, $3, $4)";
    Q_CARD "postgresql" "SELECT cards" "cards" 900 "SELECT token, network, expires FROM cards WHERE user_id = $1 AND preferred";
    Q_ENTRY_PUT "postgresql" "INSERT entries" "entries" 1600 "INSERT INTO entries (account, amount, reference) VALUES ($1, $2, $3)";
    Q_BALANCE "postgresql" "SELECT balances" "balances" 1300 "SELECT account, sum(amount) FROM entries WHERE account = $1 GROUP BY account";
    Q_RULES "mongodb" "find rules" "rules" 1500 "{\"find\":\"rules\",\"filter\":{\"active\":true,\"region\":\"?\"}}";
    Q_HISTORY "mongodb" "aggregate events" "events" 5200 "{\"aggregate\":\"events\",\"pipeline\":[{\"$match\":{\"user\":\"?\"}},{\"$group\":\"?\"}]}";
    Q_VECTORS "mongodb" "find vectors" "vectors" 2700 "{\"find\":\"vectors\",\"filter\":{\"product\":\"?\"},\"limit\":20}";
    Q_PARCEL_PUT "postgresql" "INSERT parcels" "parcels" 1800 "INSERT INTO parcels (id, order_id, carrier, weight) VALUES ($1, $2, $3, $4)";
    Q_TEMPLATE "mongodb" "find templates" "templates" 900 "{\"find\":\"templates\",\"filter\":{\"name\":\"?\",\"locale\":\"?\"}}";
    Q_OUTBOX "mongodb" "insert outbox" "outbox" 1400 "{\"insert\":\"outbox\",\"documents\":\"?\"}";
}
