SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public.deliveries (
    number bigint NOT NULL,
    id character varying(64) NOT NULL,
    owner character varying(36) NOT NULL,
    job character varying(36) NOT NULL,
    url text NOT NULL,
    body text NOT NULL,
    state character varying(16) NOT NULL,
    attempts integer NOT NULL,
    next double precision,
    created double precision NOT NULL,
    status integer,
    error text
);
CREATE SEQUENCE public.deliveries_number_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.deliveries_number_seq OWNED BY public.deliveries.number;
CREATE TABLE public.engine_numbers (
    number bigint NOT NULL,
    name character varying(255) NOT NULL
);
CREATE SEQUENCE public.engine_numbers_number_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.engine_numbers_number_seq OWNED BY public.engine_numbers.number;
CREATE TABLE public.engines (
    id character varying(36) NOT NULL,
    name character varying(255) NOT NULL,
    version character varying(255) NOT NULL,
    description text NOT NULL,
    definition json NOT NULL,
    backend character varying(16) NOT NULL,
    "default" boolean NOT NULL,
    active boolean NOT NULL,
    created double precision NOT NULL,
    last_used double precision,
    files_updated double precision
);
CREATE TABLE public.events (
    number bigint NOT NULL,
    "time" double precision NOT NULL,
    owner character varying(36) NOT NULL,
    job character varying(36) NOT NULL,
    kind character varying(24) NOT NULL,
    data json NOT NULL
);
CREATE SEQUENCE public.events_number_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.events_number_seq OWNED BY public.events.number;
CREATE TABLE public.idempotency (
    owner character varying(36) NOT NULL,
    key character varying(255) NOT NULL,
    digest character varying(64) NOT NULL,
    status integer NOT NULL,
    reply text NOT NULL,
    created double precision NOT NULL
);
CREATE TABLE public.instances (
    id character varying(36) NOT NULL,
    seen double precision NOT NULL
);
CREATE TABLE public.jobs (
    number bigint NOT NULL,
    id character varying(36) NOT NULL,
    api character varying(8) NOT NULL,
    owner character varying(36) NOT NULL,
    worker character varying(36),
    engine character varying(36),
    backend character varying(16) NOT NULL,
    state character varying(16) NOT NULL,
    progress double precision NOT NULL,
    previous_attempts integer,
    meta_json_required boolean NOT NULL,
    meta_json_uploaded boolean NOT NULL,
    alto_required boolean NOT NULL,
    page_required boolean NOT NULL,
    pages integer NOT NULL,
    missing integer NOT NULL,
    open integer NOT NULL,
    failed integer NOT NULL,
    created double precision NOT NULL,
    started double precision,
    changed double precision NOT NULL,
    finished double precision,
    log text,
    log_user text,
    name character varying(255),
    formats json,
    priority integer NOT NULL,
    webhook json,
    labels json,
    retention_days double precision,
    files_gone boolean NOT NULL,
    progress_told double precision
);
CREATE SEQUENCE public.jobs_number_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.jobs_number_seq OWNED BY public.jobs.number;
CREATE TABLE public.keys (
    id character varying(36) NOT NULL,
    kid character varying(64),
    salt character varying(64) NOT NULL,
    digest character varying(64) NOT NULL,
    whole character varying(64),
    label character varying(255) NOT NULL,
    role character varying(16) NOT NULL,
    active boolean NOT NULL,
    created double precision NOT NULL,
    last_used double precision,
    expires double precision,
    share double precision NOT NULL,
    pages_per_day integer,
    pages_waiting integer,
    requests_per_minute integer,
    max_upload bigint,
    webhook_secrets json
);
CREATE TABLE public.pages (
    number bigint NOT NULL,
    id character varying(36) NOT NULL,
    job character varying(36) NOT NULL,
    owner character varying(36) NOT NULL,
    backend character varying(16) NOT NULL,
    engine character varying(36),
    name character varying(1020) NOT NULL,
    "position" integer NOT NULL,
    priority integer NOT NULL,
    state character varying(16) NOT NULL,
    failure character varying(24),
    error text,
    url text,
    document character varying(36),
    frame integer NOT NULL,
    frames integer,
    image_uploaded boolean NOT NULL,
    alto_uploaded boolean NOT NULL,
    page_uploaded boolean NOT NULL,
    image_bytes bigint,
    image_sha256 character varying(64),
    trace character varying(64),
    sent_by character varying(36),
    sent double precision,
    changed double precision NOT NULL,
    finished double precision,
    attempts integer NOT NULL,
    quality double precision,
    worst_line double precision,
    lines integer,
    engine_text text,
    worker text,
    seconds json,
    worker_seconds double precision NOT NULL
);
CREATE SEQUENCE public.pages_number_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.pages_number_seq OWNED BY public.pages.number;
CREATE TABLE public.results (
    page character varying(36) NOT NULL,
    format character varying(16) NOT NULL,
    job character varying(36) NOT NULL,
    bytes bigint NOT NULL,
    sha256 character varying(64) NOT NULL
);
CREATE TABLE public.uploads (
    id character varying(36) NOT NULL,
    owner character varying(36) NOT NULL,
    job character varying(36) NOT NULL,
    name character varying(1020) NOT NULL,
    length bigint NOT NULL,
    expires double precision NOT NULL
);
ALTER TABLE ONLY public.deliveries ALTER COLUMN number SET DEFAULT nextval('public.deliveries_number_seq'::regclass);
ALTER TABLE ONLY public.engine_numbers ALTER COLUMN number SET DEFAULT nextval('public.engine_numbers_number_seq'::regclass);
ALTER TABLE ONLY public.events ALTER COLUMN number SET DEFAULT nextval('public.events_number_seq'::regclass);
ALTER TABLE ONLY public.jobs ALTER COLUMN number SET DEFAULT nextval('public.jobs_number_seq'::regclass);
ALTER TABLE ONLY public.pages ALTER COLUMN number SET DEFAULT nextval('public.pages_number_seq'::regclass);
INSERT INTO public.engine_numbers VALUES (1, 'dummy');
INSERT INTO public.engine_numbers VALUES (2, 'theirs');
INSERT INTO public.engines VALUES ('62b4aa3e-3589-4705-b4df-4c9ad131a284', 'dummy', '55fb581cb1b9', '', '{"stages": ["dummy"]}', 'farm', true, true, 1795625161.976058, 1795625169.027783, NULL);
INSERT INTO public.engines VALUES ('dae96a1d-519b-4a63-8506-623b98335244', 'theirs', '1', 'd', '{}', 'lease', false, true, 1795625169.3100662, NULL, NULL);
INSERT INTO public.events VALUES (1, 1795625168.9350412, '8cc8ff5e-d2b1-45f9-ae59-134378163458', '2f3d4214-f1c1-401c-976d-52b26291345a', 'job.state', '{"job": "2f3d4214-f1c1-401c-976d-52b26291345a", "state": "new"}');
INSERT INTO public.events VALUES (2, 1795625169.027783, '8cc8ff5e-d2b1-45f9-ae59-134378163458', '2f3d4214-f1c1-401c-976d-52b26291345a', 'job.state', '{"job": "2f3d4214-f1c1-401c-976d-52b26291345a", "state": "queued"}');
INSERT INTO public.events VALUES (3, 1795625169.073131, '8cc8ff5e-d2b1-45f9-ae59-134378163458', '2f3d4214-f1c1-401c-976d-52b26291345a', 'job.state', '{"job": "2f3d4214-f1c1-401c-976d-52b26291345a", "state": "processing"}');
INSERT INTO public.events VALUES (4, 1795625169.1817896, '8cc8ff5e-d2b1-45f9-ae59-134378163458', '2f3d4214-f1c1-401c-976d-52b26291345a', 'page.state', '{"job": "2f3d4214-f1c1-401c-976d-52b26291345a", "page": "a.jpg", "state": "done", "quality": 100.0}');
INSERT INTO public.events VALUES (5, 1795625169.1817896, '8cc8ff5e-d2b1-45f9-ae59-134378163458', '2f3d4214-f1c1-401c-976d-52b26291345a', 'job.progress', '{"job": "2f3d4214-f1c1-401c-976d-52b26291345a", "progress": 0.5, "pages": 2, "failed": 0}');
INSERT INTO public.events VALUES (6, 1795625169.223035, '8cc8ff5e-d2b1-45f9-ae59-134378163458', '2f3d4214-f1c1-401c-976d-52b26291345a', 'page.state', '{"job": "2f3d4214-f1c1-401c-976d-52b26291345a", "page": "fail.jpg", "state": "failed", "quality": null}');
INSERT INTO public.events VALUES (7, 1795625169.223035, '8cc8ff5e-d2b1-45f9-ae59-134378163458', '2f3d4214-f1c1-401c-976d-52b26291345a', 'job.progress', '{"job": "2f3d4214-f1c1-401c-976d-52b26291345a", "progress": 1.0, "pages": 2, "failed": 1}');
INSERT INTO public.events VALUES (8, 1795625169.223035, '8cc8ff5e-d2b1-45f9-ae59-134378163458', '2f3d4214-f1c1-401c-976d-52b26291345a', 'job.state', '{"job": "2f3d4214-f1c1-401c-976d-52b26291345a", "state": "done"}');
INSERT INTO public.events VALUES (9, 1795625169.2807415, '8cc8ff5e-d2b1-45f9-ae59-134378163458', '0fdfab3d-6f86-4fb3-8672-a5182b7f8423', 'job.state', '{"job": "0fdfab3d-6f86-4fb3-8672-a5182b7f8423", "state": "new"}');
INSERT INTO public.events VALUES (10, 1795625169.2996166, '8cc8ff5e-d2b1-45f9-ae59-134378163458', '304f760d-ab3a-4014-9d6e-8e7778222548', 'job.state', '{"job": "304f760d-ab3a-4014-9d6e-8e7778222548", "state": "new"}');
INSERT INTO public.jobs VALUES (1, '2f3d4214-f1c1-401c-976d-52b26291345a', 'v1', '8cc8ff5e-d2b1-45f9-ae59-134378163458', NULL, '62b4aa3e-3589-4705-b4df-4c9ad131a284', 'farm', 'done', 1, 0, false, false, false, false, 2, 0, 0, 1, 1795625168.9350412, 1795625169.073131, 1795625169.223035, 1795625169.223035, NULL, NULL, 'Box 7', '["page", "text"]', 0, 'null', '{"shelf": "7"}', NULL, false, 1795625169.223035);
INSERT INTO public.jobs VALUES (2, '0fdfab3d-6f86-4fb3-8672-a5182b7f8423', 'v1', '8cc8ff5e-d2b1-45f9-ae59-134378163458', NULL, '62b4aa3e-3589-4705-b4df-4c9ad131a284', 'farm', 'new', 0, NULL, false, false, false, false, 1, 1, 1, 0, 1795625169.2807415, NULL, 1795625169.2807415, NULL, NULL, NULL, NULL, 'null', 0, 'null', 'null', NULL, false, NULL);
INSERT INTO public.jobs VALUES (3, '304f760d-ab3a-4014-9d6e-8e7778222548', 'legacy', '8cc8ff5e-d2b1-45f9-ae59-134378163458', NULL, '62b4aa3e-3589-4705-b4df-4c9ad131a284', 'farm', 'new', 0, NULL, false, false, false, false, 1, 1, 1, 0, 1795625169.2996166, NULL, 1795625169.2996166, NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, false, NULL);
INSERT INTO public.keys VALUES ('512053f0-7404-4aa4-af74-db86ccc52bf7', 'S4PQdH3p', '7c6c838ea0265b33581e6b995271f883', '855f412cb240920df98d39030e84874c9a47d81b6cd88ab2a445ce6b1f017ce5', NULL, 'the-admin', 'admin', true, 1795625167.6458106, 1795625168.8704345, NULL, 1, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.keys VALUES ('24985cb1-3cf2-4333-a01b-375036cf47de', 'UKU_vqrj', '36f33d2b11d1be05fe30a046b5c862ef', '6ca2b2cce9e45b95f8dcf2b214bf909ac53a2bbdd393b3f8b93514e5c63b8270', NULL, 'another-user', 'user', true, 1795625168.8881402, NULL, NULL, 1, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.keys VALUES ('bb2b6926-b714-451a-a8c5-84c2d138e16b', 'DuZWqSx_', '197fd508f2bcf1b3f60a59c6e427c532', '548b2e121f0271dcb9c894632280e073fb1414b1c928da374e4362eb7e0de6fe', NULL, 'a-worker', 'worker', true, 1795625168.9017966, NULL, NULL, 1, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.keys VALUES ('6c4c8b6f-9835-4f7c-8552-815ecdb5640a', 'su4gLBlJ', '2f12268f6bbd61d9e8d8e746e1e05e00', 'aa9fdd371da7ac5cfca78a1c459c0a19114ac5e927693c424d04a0169a4ae5e7', NULL, 'a-reader', 'readonly', true, 1795625168.9171705, NULL, NULL, 1, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.keys VALUES ('8cc8ff5e-d2b1-45f9-ae59-134378163458', 'oVyrbkcZ', 'c67ba639fe1af62738ab5d42f3ddb77f', 'de69e5cb5c604667d5b749c3e0240f1f813ee94b4f6e52040150043d9ee60fcd', NULL, 'a-user', 'user', true, 1795625168.8777993, 1795625168.9239924, NULL, 1, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.pages VALUES (1, 'd82b68f9-3c8b-48e1-b195-2241f1b3e105', '2f3d4214-f1c1-401c-976d-52b26291345a', '8cc8ff5e-d2b1-45f9-ae59-134378163458', 'farm', '62b4aa3e-3589-4705-b4df-4c9ad131a284', 'a.jpg', 0, 0, 'done', NULL, NULL, NULL, NULL, 0, NULL, true, false, false, 1770, '925b496bb17818367feb6572dec13fd46e8fc567d70c645de20fc53f78db04e8', 'ce689ff4064cefa5', NULL, NULL, 1795625169.1817896, 1795625169.1817896, 1, 100, 100, 1, 'dummy 55fb581cb1b9', 'local-1', '{"write": 0.0005, "total": 0.0039}', 0.004);
INSERT INTO public.pages VALUES (2, 'ce52c67d-75bb-4c3e-ba4e-2e154b801475', '2f3d4214-f1c1-401c-976d-52b26291345a', '8cc8ff5e-d2b1-45f9-ae59-134378163458', 'farm', '62b4aa3e-3589-4705-b4df-4c9ad131a284', 'fail.jpg', 1, 0, 'failed', 'PROCESSING_FAILED', 'the dummy engine was told to fail on fail.jpg', NULL, NULL, 0, NULL, true, false, false, 1770, '925b496bb17818367feb6572dec13fd46e8fc567d70c645de20fc53f78db04e8', '4dd06baf25fb1f05', NULL, NULL, 1795625169.223035, 1795625169.223035, 3, NULL, NULL, 0, 'dummy', 'local-1', '{}', 0.0001);
INSERT INTO public.pages VALUES (3, '05305d87-c71e-4383-97f3-01c3838b951e', '0fdfab3d-6f86-4fb3-8672-a5182b7f8423', '8cc8ff5e-d2b1-45f9-ae59-134378163458', 'farm', '62b4aa3e-3589-4705-b4df-4c9ad131a284', 'later.jpg', 0, 0, 'created', NULL, NULL, NULL, NULL, 0, NULL, false, false, false, NULL, NULL, 'e455c79524c51267', NULL, NULL, 1795625169.2807415, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, 0);
INSERT INTO public.pages VALUES (4, '0a004ecb-0147-4142-a428-5ec568d96449', '304f760d-ab3a-4014-9d6e-8e7778222548', '8cc8ff5e-d2b1-45f9-ae59-134378163458', 'farm', '62b4aa3e-3589-4705-b4df-4c9ad131a284', 'x.jpg', 0, 0, 'created', NULL, NULL, NULL, NULL, 0, NULL, false, false, false, NULL, NULL, 'e4234c55c8e7fbee', NULL, NULL, 1795625169.2996166, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, 0);
INSERT INTO public.results VALUES ('d82b68f9-3c8b-48e1-b195-2241f1b3e105', 'page', '2f3d4214-f1c1-401c-976d-52b26291345a', 1207, 'f70e76aeca01d067dc8067b457ea39b356e06f8bf43a0a2028326f3500c5f7e7');
INSERT INTO public.results VALUES ('d82b68f9-3c8b-48e1-b195-2241f1b3e105', 'text', '2f3d4214-f1c1-401c-976d-52b26291345a', 25, '96b0c70e089232a370fc6f9d2235751880801aa05e56e4384fe90b02cf78588e');
SELECT pg_catalog.setval('public.deliveries_number_seq', 1, false);
SELECT pg_catalog.setval('public.engine_numbers_number_seq', 2, true);
SELECT pg_catalog.setval('public.events_number_seq', 10, true);
SELECT pg_catalog.setval('public.jobs_number_seq', 3, true);
SELECT pg_catalog.setval('public.pages_number_seq', 4, true);
ALTER TABLE ONLY public.deliveries
    ADD CONSTRAINT deliveries_id_key UNIQUE (id);
ALTER TABLE ONLY public.deliveries
    ADD CONSTRAINT deliveries_pkey PRIMARY KEY (number);
ALTER TABLE ONLY public.engine_numbers
    ADD CONSTRAINT engine_numbers_name_key UNIQUE (name);
ALTER TABLE ONLY public.engine_numbers
    ADD CONSTRAINT engine_numbers_pkey PRIMARY KEY (number);
ALTER TABLE ONLY public.engines
    ADD CONSTRAINT engines_name_version_key UNIQUE (name, version);
ALTER TABLE ONLY public.engines
    ADD CONSTRAINT engines_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_pkey PRIMARY KEY (number);
ALTER TABLE ONLY public.idempotency
    ADD CONSTRAINT idempotency_pkey PRIMARY KEY (owner, key);
ALTER TABLE ONLY public.instances
    ADD CONSTRAINT instances_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT jobs_id_key UNIQUE (id);
ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT jobs_pkey PRIMARY KEY (number);
ALTER TABLE ONLY public.keys
    ADD CONSTRAINT keys_kid_key UNIQUE (kid);
ALTER TABLE ONLY public.keys
    ADD CONSTRAINT keys_label_key UNIQUE (label);
ALTER TABLE ONLY public.keys
    ADD CONSTRAINT keys_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.keys
    ADD CONSTRAINT keys_whole_key UNIQUE (whole);
ALTER TABLE ONLY public.pages
    ADD CONSTRAINT pages_id_key UNIQUE (id);
ALTER TABLE ONLY public.pages
    ADD CONSTRAINT pages_job_name_key UNIQUE (job, name);
ALTER TABLE ONLY public.pages
    ADD CONSTRAINT pages_pkey PRIMARY KEY (number);
ALTER TABLE ONLY public.results
    ADD CONSTRAINT results_pkey PRIMARY KEY (page, format);
ALTER TABLE ONLY public.uploads
    ADD CONSTRAINT uploads_pkey PRIMARY KEY (id);
CREATE INDEX deliveries_due ON public.deliveries USING btree (state, next);
CREATE INDEX deliveries_of_owner ON public.deliveries USING btree (owner, number);
CREATE INDEX events_of_job ON public.events USING btree (job, number);
CREATE INDEX ix_events_time ON public.events USING btree ("time");
CREATE INDEX ix_idempotency_created ON public.idempotency USING btree (created);
CREATE INDEX ix_results_job ON public.results USING btree (job);
CREATE INDEX ix_uploads_expires ON public.uploads USING btree (expires);
CREATE INDEX ix_uploads_owner ON public.uploads USING btree (owner);
CREATE INDEX jobs_by_end ON public.jobs USING btree (files_gone, finished);
CREATE INDEX jobs_of_day ON public.jobs USING btree (owner, created);
CREATE INDEX jobs_of_owner ON public.jobs USING btree (owner, number);
CREATE INDEX jobs_to_lease ON public.jobs USING btree (backend, state, priority, number);
CREATE INDEX pages_of_job ON public.pages USING btree (job, "position", number);
CREATE INDEX pages_of_owner ON public.pages USING btree (owner, finished);
CREATE INDEX pages_sent ON public.pages USING btree (state, sent_by);
CREATE INDEX pages_to_do ON public.pages USING btree (backend, state, owner, priority, number);
