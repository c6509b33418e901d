//! Who calls whom in the benchmark's shop: operations and topics, as tables.
//!
//! What must stay true: the calls have no cycle (a static cannot refer to itself on the way down), and the chances give
//! 18 to 20 spans a trace on average; the workload's test counts them.

use super::services::*;
use super::statements::*;

/// How an operation is called.
#[derive(Debug)]
pub(crate) enum Api {
    /// Method and route; `{id}` stands for a number.
    Http(&'static str, &'static str),
    /// Service and method.
    Rpc(&'static str, &'static str),
}

/// What a service does when it is called.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) service: usize,
    /// The name of the span.
    pub(crate) name: &'static str,
    pub(crate) api: Api,
    /// Own work, in microseconds.
    pub(crate) micros: u64,
    pub(crate) steps: &'static [Step],
}

/// A queue, and what happens at its other end.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: &'static str,
    pub(crate) publish: &'static str,
    pub(crate) process: &'static str,
    pub(crate) consumer: usize,
    pub(crate) steps: &'static [Step],
}

/// Something an operation does, in so many of a hundred cases, at most so many times.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) what: What,
    pub(crate) chance: u64,
    pub(crate) most: u64,
}

/// What a step is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    Internal(&'static str, u64),
    Call(&'static Operation),
    Query(&'static Query),
    Publish(&'static Topic),
}

const fn own(name: &'static str, micros: u64, chance: u64) -> Step {
    Step { what: What::Internal(name, micros), chance, most: 1 }
}

const fn call(to: &'static Operation, chance: u64) -> Step {
    Step { what: What::Call(to), chance, most: 1 }
}

const fn ask(query: &'static Query, chance: u64, most: u64) -> Step {
    Step { what: What::Query(query), chance, most }
}

const fn publish(topic: &'static Topic, chance: u64) -> Step {
    Step { what: What::Publish(topic), chance, most: 1 }
}

macro_rules! http {
    ($id:ident, $service:ident, $method:literal, $route:literal, $micros:literal, [$($step:expr),* $(,)?]) => {
        static $id: Operation = Operation {
            service: $service,
            name: concat!($method, " ", $route),
            api: Api::Http($method, $route),
            micros: $micros,
            steps: &[$($step),*],
        };
    };
}

macro_rules! rpc {
    ($id:ident, $service:ident, $on:literal, $method:literal, $micros:literal, [$($step:expr),* $(,)?]) => {
        static $id: Operation = Operation {
            service: $service,
            name: concat!($on, "/", $method),
            api: Api::Rpc($on, $method),
            micros: $micros,
            steps: &[$($step),*],
        };
    };
}

rpc!(
    AUTHENTICATE,
    ACCOUNTS,
    "identity.v1.Accounts",
    "Authenticate",
    600,
    [ask(&Q_SESSION, 100, 1), ask(&Q_USER, 20, 1)]
);
rpc!(
    GET_PROFILE,
    ACCOUNTS,
    "identity.v1.Accounts",
    "GetProfile",
    700,
    [ask(&Q_USER, 90, 1), ask(&Q_ADDRESS, 60, 1)]
);
http!(
    SIGN_IN,
    ACCOUNTS,
    "POST",
    "/v1/sessions",
    3000,
    [
        ask(&Q_LOGIN, 100, 1),
        own("verify password hash", 60_000, 100),
        ask(&Q_SESSION_PUT, 95, 1),
        ask(&Q_TOUCH, 90, 1),
    ]
);

rpc!(
    GET_PRICES,
    PRICING,
    "shop.v2.Pricing",
    "GetPrices",
    900,
    [ask(&Q_PRICE, 80, 2), ask(&Q_DISCOUNT, 40, 1), ask(&Q_TAX, 50, 1),]
);
rpc!(
    QUOTE,
    PRICING,
    "shop.v2.Pricing",
    "QuoteOrder",
    1600,
    [ask(&Q_PRICE, 100, 3), ask(&Q_DISCOUNT, 90, 1), ask(&Q_RATE, 30, 1), own("apply discounts", 400, 80),]
);
rpc!(
    GET_PRODUCT,
    CATALOG,
    "shop.v2.Catalog",
    "GetProduct",
    800,
    [ask(&Q_PRODUCT, 100, 1), ask(&Q_IMAGES, 60, 1), ask(&Q_REVIEWS, 50, 1),]
);
rpc!(
    LIST_PRODUCTS,
    CATALOG,
    "shop.v2.Catalog",
    "ListProducts",
    1500,
    [ask(&Q_CATEGORY, 70, 1), ask(&Q_PRODUCTS, 100, 1), call(&GET_PRICES, 60),]
);
rpc!(GET_STOCK, INVENTORY, "logistics.v1.Inventory", "GetStock", 500, [ask(&Q_STOCK, 100, 2)]);
rpc!(
    RESERVE,
    INVENTORY,
    "logistics.v1.Inventory",
    "Reserve",
    900,
    [ask(&Q_STOCK, 100, 2), ask(&Q_RESERVE, 100, 2), ask(&Q_MOVE_PUT, 80, 1),]
);
rpc!(
    RECOMMEND,
    RECOMMENDATION,
    "shop.v2.Recommendation",
    "ForUser",
    4000,
    [ask(&Q_VECTORS, 100, 2), own("rank candidates", 7_000, 80),]
);
rpc!(
    FIND,
    SEARCH,
    "shop.v2.Search",
    "Find",
    2000,
    [
        ask(&Q_SYNONYM, 60, 1),
        own("parse query", 300, 70),
        ask(&Q_FULLTEXT, 100, 1),
        ask(&Q_FACETS, 60, 1),
        call(&GET_PRICES, 80),
    ]
);
rpc!(SUGGEST, SEARCH, "shop.v2.Search", "Suggest", 900, [ask(&Q_SUGGEST, 100, 1)]);
rpc!(GET_CART, CART, "shop.v2.Cart", "GetCart", 500, [ask(&Q_CART_GET, 100, 1), call(&GET_PRICES, 50)]);
rpc!(
    ADD_ITEM,
    CART,
    "shop.v2.Cart",
    "AddItem",
    700,
    [ask(&Q_CART_GET, 90, 1), call(&GET_STOCK, 70), ask(&Q_CART_PUT, 100, 2), ask(&Q_CART_TTL, 60, 1),]
);
rpc!(EMPTY_CART, CART, "shop.v2.Cart", "EmptyCart", 300, [ask(&Q_CART_DEL, 100, 1)]);
rpc!(
    SCORE,
    FRAUD,
    "payments.v1.Fraud",
    "Score",
    3000,
    [ask(&Q_RULES, 90, 1), ask(&Q_HISTORY, 80, 1), own("score features", 5_000, 90),]
);
rpc!(
    POST_ENTRY,
    LEDGER,
    "payments.v1.Ledger",
    "PostEntry",
    700,
    [ask(&Q_ENTRY_PUT, 100, 2), ask(&Q_BALANCE, 30, 1)]
);
http!(
    CHARGE,
    PAYMENT,
    "POST",
    "/v1/charges",
    9000,
    [
        ask(&Q_CARD, 90, 1),
        call(&SCORE, 90),
        own("authorise card", 80_000, 100),
        ask(&Q_CHARGE_PUT, 100, 1),
        call(&POST_ENTRY, 90),
    ]
);

static SHIPMENTS: Topic = Topic {
    name: "logistics.shipments",
    publish: "publish logistics.shipments",
    process: "process logistics.shipments",
    consumer: NOTIFICATION,
    steps: &[ask(&Q_TEMPLATE, 90, 1), own("render message", 2_000, 90), ask(&Q_OUTBOX, 80, 1)],
};
static ORDERS: Topic = Topic {
    name: "shop.orders",
    publish: "publish shop.orders",
    process: "process shop.orders",
    consumer: SHIPPING,
    steps: &[own("choose carrier", 900, 80), ask(&Q_PARCEL_PUT, 100, 1), publish(&SHIPMENTS, 70)],
};
static VIEWS: Topic = Topic {
    name: "shop.views",
    publish: "publish shop.views",
    process: "process shop.views",
    consumer: RECOMMENDATION,
    steps: &[own("update profile", 1_200, 60)],
};
static STOCK_LEVELS: Topic = Topic {
    name: "logistics.stock-levels",
    publish: "publish logistics.stock-levels",
    process: "process logistics.stock-levels",
    consumer: SEARCH,
    steps: &[own("reindex products", 9_000, 90)],
};

rpc!(
    PLACE_ORDER,
    CHECKOUT,
    "shop.v2.Checkout",
    "PlaceOrder",
    3000,
    [
        call(&GET_CART, 100),
        call(&QUOTE, 90),
        call(&RESERVE, 100),
        call(&CHARGE, 100),
        ask(&Q_ORDER_PUT, 100, 1),
        ask(&Q_LINES_PUT, 100, 3),
        publish(&ORDERS, 95),
        call(&EMPTY_CART, 90),
    ]
);
rpc!(
    GET_ORDER,
    CHECKOUT,
    "shop.v2.Checkout",
    "GetOrder",
    700,
    [ask(&Q_ORDER, 100, 1), ask(&Q_ORDER_STATE, 15, 1)]
);
rpc!(LIST_ORDERS, CHECKOUT, "shop.v2.Checkout", "ListOrders", 900, [ask(&Q_ORDERS, 100, 1)]);

http!(
    PAGE_HOME,
    STOREFRONT,
    "GET",
    "/",
    2500,
    [call(&LIST_PRODUCTS, 90), call(&RECOMMEND, 70), own("render page", 4_000, 100),]
);
http!(
    PAGE_PRODUCT,
    STOREFRONT,
    "GET",
    "/products/{id}",
    2200,
    [
        call(&GET_PRODUCT, 100),
        call(&GET_PRICES, 90),
        call(&GET_STOCK, 60),
        call(&RECOMMEND, 30),
        own("render page", 5_000, 100),
        publish(&VIEWS, 60),
    ]
);
http!(
    PAGE_CATEGORY,
    STOREFRONT,
    "GET",
    "/categories/{id}",
    2400,
    [call(&LIST_PRODUCTS, 100), own("render page", 6_000, 100)]
);
http!(PAGE_SEARCH, STOREFRONT, "GET", "/search", 1900, [call(&FIND, 100), own("render page", 4_500, 100)]);
http!(API_SUGGEST, STOREFRONT, "GET", "/api/suggest", 600, [call(&SUGGEST, 100)]);
http!(API_CART_ADD, STOREFRONT, "POST", "/api/cart/items", 900, [call(&ADD_ITEM, 100), call(&GET_CART, 60)]);
http!(
    API_CHECKOUT,
    STOREFRONT,
    "POST",
    "/api/checkout",
    1800,
    [call(&GET_PROFILE, 90), call(&PLACE_ORDER, 100)]
);
http!(
    API_ORDER,
    STOREFRONT,
    "GET",
    "/api/orders/{id}",
    800,
    [call(&GET_ORDER, 100), own("render page", 2_000, 40)]
);
http!(API_ORDERS, STOREFRONT, "GET", "/api/orders", 800, [call(&LIST_ORDERS, 100), call(&GET_PROFILE, 60)]);

macro_rules! edges {
    ($($id:ident $method:literal $route:literal [$($step:expr),*];)*) => {
        $(http!($id, GATEWAY, $method, $route, 300, [$($step),*]);)*
    };
}

edges! {
    EDGE_HOME "GET" "/" [call(&AUTHENTICATE, 60), call(&PAGE_HOME, 100)];
    EDGE_PRODUCT "GET" "/products/{id}" [call(&AUTHENTICATE, 60), call(&PAGE_PRODUCT, 100)];
    EDGE_CATEGORY "GET" "/categories/{id}" [call(&AUTHENTICATE, 60), call(&PAGE_CATEGORY, 100)];
    EDGE_SEARCH "GET" "/search" [call(&AUTHENTICATE, 60), call(&PAGE_SEARCH, 100)];
    EDGE_SUGGEST "GET" "/api/suggest" [call(&API_SUGGEST, 100)];
    EDGE_CART "POST" "/api/cart/items" [call(&AUTHENTICATE, 90), call(&API_CART_ADD, 100)];
    EDGE_CHECKOUT "POST" "/api/checkout" [own("check rate limit", 60, 80), call(&AUTHENTICATE, 100), call(&API_CHECKOUT, 100)];
    EDGE_ORDER "GET" "/api/orders/{id}" [call(&AUTHENTICATE, 100), call(&API_ORDER, 100)];
    EDGE_ORDERS "GET" "/api/orders" [call(&AUTHENTICATE, 100), call(&API_ORDERS, 100)];
    EDGE_SIGN_IN "POST" "/v1/sessions" [own("check rate limit", 60, 100), call(&SIGN_IN, 100)];
}
rpc!(
    SYNC_STOCK,
    INVENTORY,
    "logistics.v1.Inventory",
    "SyncWarehouse",
    6000,
    [ask(&Q_STOCK, 100, 6), ask(&Q_MOVE_PUT, 100, 4), publish(&STOCK_LEVELS, 90),]
);

/// Where traces begin, and how often.
pub(crate) static ROOTS: [(&Operation, u64); 11] = [
    (&EDGE_PRODUCT, 28),
    (&EDGE_HOME, 14),
    (&EDGE_CATEGORY, 10),
    (&EDGE_SEARCH, 12),
    (&EDGE_SUGGEST, 5),
    (&EDGE_CART, 9),
    (&EDGE_CHECKOUT, 11),
    (&EDGE_ORDER, 3),
    (&EDGE_ORDERS, 3),
    (&EDGE_SIGN_IN, 3),
    (&SYNC_STOCK, 2),
];
