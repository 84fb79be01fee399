-- migrate:up

-- Where each order stands. Narrow and updated in place: no column but the key is indexed (HOT).
CREATE TABLE instances (
    bucket      smallint    NOT NULL CHECK (bucket BETWEEN 0 AND 1023),
    instance_id uuid        NOT NULL,
    workflow    text        COLLATE "C",
    version     smallint    NOT NULL DEFAULT 0,
    state       text        COLLATE "C" NOT NULL DEFAULT 'UNBORN',
    -- How many events were recorded; also the epoch of what was armed with the last of them.
    revision    integer     NOT NULL DEFAULT 0 CHECK (revision >= 0),
    -- Commands without an answer of their own.
    owed        uuid[]      NOT NULL DEFAULT '{}',
    -- Deadlines that stand: name -> [epoch, due].
    armed       jsonb       NOT NULL DEFAULT '{}',
    -- What commands are filled in from.
    context     jsonb       NOT NULL DEFAULT '{}',
    -- How many of its events wait for their state.
    early       smallint    NOT NULL DEFAULT 0 CHECK (early >= 0),
    changed_at  timestamptz NOT NULL,
    PRIMARY KEY (bucket, instance_id),
    -- An instance is unborn exactly as long as it has no workflow.
    CHECK ((workflow IS NULL) = (state = 'UNBORN'))
) WITH (fillfactor = 70);

-- Every fact once, with what became of it and what it caused. No personal data.
CREATE TABLE events (
    bucket      smallint    NOT NULL,
    instance_id uuid        NOT NULL,
    event_id    uuid        NOT NULL,
    revision    integer     NOT NULL CHECK (revision > 0),
    type        text        COLLATE "C" NOT NULL,
    fate        text        COLLATE "C" NOT NULL CHECK (fate IN ('applied', 'early', 'late', 'unexpected')),
    source      text        COLLATE "C" NOT NULL,
    cause       uuid,
    fingerprint text        COLLATE "C",
    payload     jsonb       NOT NULL,
    -- {"commands": [CloudEvent…], "deadlines": [[name, epoch, due]…]}
    caused      jsonb,
    happened_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    traceparent text        COLLATE "C",
    PRIMARY KEY (bucket, instance_id, event_id)
);

-- Time limits that stand, for people to see; the lattice carries them.
CREATE TABLE deadlines (
    bucket      smallint    NOT NULL,
    instance_id uuid        NOT NULL,
    name        text        COLLATE "C" NOT NULL,
    due         timestamptz NOT NULL,
    epoch       integer     NOT NULL,
    PRIMARY KEY (bucket, instance_id, name)
);

CREATE TABLE orders (
    bucket                  smallint    NOT NULL,
    order_id                uuid        NOT NULL,
    order_no                text        COLLATE "C" NOT NULL,
    channel                 text        COLLATE "C" NOT NULL,
    account                 text        COLLATE "C" NOT NULL,
    channel_order_id        text        COLLATE "C" NOT NULL,
    store_id                text        COLLATE "C" NOT NULL,
    daily_number            integer,
    kind                    text        COLLATE "C" NOT NULL CHECK (kind IN ('delivery', 'pickup')),
    placed_at               timestamptz NOT NULL,
    wanted_at               timestamptz,
    remark                  text        NOT NULL,
    currency                char(3)     NOT NULL,
    goods_minor             bigint      NOT NULL,
    packing_minor           bigint      NOT NULL,
    delivery_minor          bigint      NOT NULL,
    platform_discount_minor bigint      NOT NULL,
    store_discount_minor    bigint      NOT NULL,
    paid_minor              bigint      NOT NULL,
    flags                   text[]      NOT NULL,
    extension               jsonb       NOT NULL,
    recorded_at             timestamptz NOT NULL,
    PRIMARY KEY (bucket, order_id),
    UNIQUE (bucket, order_no)
);

CREATE TABLE order_lines (
    bucket           smallint NOT NULL,
    order_id         uuid     NOT NULL,
    line             smallint NOT NULL CHECK (line > 0),
    sku              text     COLLATE "C",
    name             text     NOT NULL,
    quantity         integer  NOT NULL CHECK (quantity > 0),
    unit_price_minor bigint   NOT NULL,
    paid_minor       bigint   NOT NULL,
    options          text     NOT NULL,
    PRIMARY KEY (bucket, order_id, line)
);

-- Further ids that a channel uses for the same order.
CREATE TABLE order_aliases (
    bucket   smallint NOT NULL,
    order_id uuid     NOT NULL,
    alias    text     COLLATE "C" NOT NULL,
    PRIMARY KEY (bucket, order_id, alias)
);
CREATE INDEX order_aliases_alias ON order_aliases (alias);

-- Personal data, apart from everything else: masked on read, erasable.
CREATE TABLE recipients (
    bucket   smallint NOT NULL,
    order_id uuid     NOT NULL,
    name     text     NOT NULL,
    phone    text     NOT NULL,
    address  text     NOT NULL,
    PRIMARY KEY (bucket, order_id)
);

-- Every command once per consumer: what was sent for it, and its one answer.
CREATE TABLE inbox (
    bucket      smallint    NOT NULL,
    consumer    text        COLLATE "C" NOT NULL,
    command_id  uuid        NOT NULL,
    order_id    uuid        NOT NULL,
    body        bytea,
    answer      jsonb,
    received_at timestamptz NOT NULL,
    answered_at timestamptz,
    PRIMARY KEY (bucket, consumer, command_id),
    CHECK ((answer IS NULL) = (answered_at IS NULL))
) WITH (fillfactor = 85);

-- What is there now. Never negative: an order gets all of its lines or none.
CREATE TABLE stock_levels (
    bucket   smallint NOT NULL,
    store_id text     COLLATE "C" NOT NULL,
    sku      text     COLLATE "C" NOT NULL,
    on_hand  integer  NOT NULL CHECK (on_hand >= 0),
    PRIMARY KEY (bucket, store_id, sku)
) WITH (fillfactor = 70);

-- Every movement once; on hand is their sum. Phase 1 of an order is 'deducted' or 'given_up'
-- (nothing moved, and nothing will: the tombstone that a deduction coming after its return finds),
-- phase 2 is 'returned'. Opening stock is 'received'.
CREATE TABLE stock_ledger (
    bucket    smallint    NOT NULL,
    store_id  text        COLLATE "C" NOT NULL,
    order_id  uuid        NOT NULL,
    phase     smallint    NOT NULL CHECK (phase IN (1, 2)),
    movement  text        COLLATE "C" NOT NULL CHECK (movement IN ('received', 'deducted', 'given_up', 'returned')),
    -- SKU -> how many; given_up holds none.
    quantities jsonb      NOT NULL,
    moved_at  timestamptz NOT NULL,
    PRIMARY KEY (bucket, store_id, order_id, phase),
    CHECK ((movement = 'returned') = (phase = 2)),
    CHECK (movement <> 'given_up' OR quantities = '{}')
);

-- A log of every outbound call.
CREATE TABLE deliveries (
    bucket      smallint    NOT NULL,
    command_id  uuid        NOT NULL,
    attempt_id  uuid        NOT NULL,
    order_id    uuid        NOT NULL,
    queue       text        COLLATE "C" NOT NULL,
    destination text        COLLATE "C" NOT NULL,
    attempt     integer     NOT NULL,
    outcome     text        COLLATE "C" NOT NULL,
    status      smallint,
    error       text,
    started_at  timestamptz NOT NULL,
    seconds     real        NOT NULL,
    PRIMARY KEY (bucket, command_id, attempt_id)
);

-- Everything that entered, before it was acknowledged to its sender.
CREATE TABLE accepted_requests (
    bucket       smallint    NOT NULL,
    source       text        COLLATE "C" NOT NULL,
    scope        text        COLLATE "C" NOT NULL,
    key          text        COLLATE "C" NOT NULL,
    fingerprint  text        COLLATE "C" NOT NULL,
    body         bytea       NOT NULL,
    -- The CloudEvents it became, each as JSON: what is published, now or after an outage.
    events       bytea[]     NOT NULL,
    problem      text,
    accepted_at  timestamptz NOT NULL,
    published_at timestamptz,
    PRIMARY KEY (bucket, source, scope, key, fingerprint)
);
-- A till's keys are ours to define: of two bodies under one key the first stands, the other is refused.
CREATE UNIQUE INDEX accepted_requests_till ON accepted_requests (bucket, source, scope, key)
    WHERE source = 'till';
-- The backlog of an outage, read once at start and at each reconnect.
CREATE INDEX accepted_requests_unpublished ON accepted_requests (accepted_at) WHERE published_at IS NULL;

-- Where the puller stands. A tick moves the cursor only from its own generation.
CREATE TABLE pull_cursors (
    channel    text        COLLATE "C" NOT NULL,
    account    text        COLLATE "C" NOT NULL,
    scope      text        COLLATE "C" NOT NULL,
    cursor     jsonb       NOT NULL DEFAULT '{}',
    generation bigint      NOT NULL DEFAULT 0,
    -- The tick that moved it last: its redelivery publishes the next tick again, a copy dies.
    moved_by   uuid,
    interval_seconds real  NOT NULL DEFAULT 1,
    paused     boolean     NOT NULL DEFAULT false,
    moved_at   timestamptz NOT NULL,
    PRIMARY KEY (channel, account, scope)
);

-- What no retry can help, for a person to look at.
CREATE TABLE quarantine (
    bucket        smallint    NOT NULL,
    quarantine_id uuid        NOT NULL,
    reason        text        COLLATE "C" NOT NULL,
    queue         text        COLLATE "C" NOT NULL,
    type          text        COLLATE "C",
    order_id      uuid,
    event_id      uuid,
    body          bytea       NOT NULL,
    headers       jsonb       NOT NULL,
    error         text        NOT NULL,
    recorded_at   timestamptz NOT NULL,
    PRIMARY KEY (bucket, quarantine_id)
);

-- The chain's own data: small tables, the same on every shard.
CREATE TABLE platform_accounts (
    account     text  COLLATE "C" PRIMARY KEY,
    platform    text  COLLATE "C" NOT NULL,
    base_url    text  NOT NULL,
    currency    char(3) NOT NULL,
    credentials jsonb NOT NULL,
    options     jsonb NOT NULL
);

CREATE TABLE stores (
    store_id      text   COLLATE "C" PRIMARY KEY,
    name          text   NOT NULL,
    timezone      text   NOT NULL,
    till_url      text   NOT NULL,
    till_secret   text   NOT NULL,
    till_networks text[] NOT NULL
);

CREATE TABLE store_codes (
    account  text COLLATE "C" NOT NULL REFERENCES platform_accounts,
    code     text COLLATE "C" NOT NULL,
    store_id text COLLATE "C" NOT NULL REFERENCES stores,
    PRIMARY KEY (account, code),
    UNIQUE (account, store_id)
);

CREATE TABLE items (
    sku         text   COLLATE "C" PRIMARY KEY,
    name        text   NOT NULL,
    price_minor bigint NOT NULL CHECK (price_minor >= 0)
);
