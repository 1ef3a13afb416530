BEGIN TRANSACTION;
CREATE TABLE deliveries (
	number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	id VARCHAR(64) NOT NULL, 
	owner VARCHAR(36) NOT NULL, 
	job VARCHAR(36) NOT NULL, 
	url TEXT NOT NULL, 
	body TEXT NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	attempts INTEGER NOT NULL, 
	next FLOAT, 
	created FLOAT NOT NULL, 
	status INTEGER, 
	error TEXT, 
	UNIQUE (id)
);
CREATE TABLE engine_numbers (
	number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	name VARCHAR(255) NOT NULL, 
	UNIQUE (name)
);
INSERT INTO "engine_numbers" VALUES(1,'dummy');
INSERT INTO "engine_numbers" VALUES(2,'theirs');
CREATE TABLE engines (
	id VARCHAR(36) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	version VARCHAR(255) NOT NULL, 
	description TEXT NOT NULL, 
	definition JSON NOT NULL, 
	backend VARCHAR(16) NOT NULL, 
	"default" BOOLEAN NOT NULL, 
	active BOOLEAN NOT NULL, 
	created FLOAT NOT NULL, 
	last_used FLOAT, 
	files_updated FLOAT, 
	PRIMARY KEY (id), 
	UNIQUE (name, version)
);
INSERT INTO "engines" VALUES('2c2625fd-a986-43a0-8fb8-fb3fdac8c47b','dummy','55fb581cb1b9','','{"stages": ["dummy"]}','farm',1,1,1.79562514694254708293e+09,1.79562515372180557257e+09,NULL);
INSERT INTO "engines" VALUES('784e8716-d9cf-4231-b53c-1ea39ec38366','theirs','1','d','{}','lease',0,1,1.79562515407387018199e+09,NULL,NULL);
CREATE TABLE events (
	number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	time FLOAT NOT NULL, 
	owner VARCHAR(36) NOT NULL, 
	job VARCHAR(36) NOT NULL, 
	kind VARCHAR(24) NOT NULL, 
	data JSON NOT NULL
);
INSERT INTO "events" VALUES(1,1.79562515353802800181e+09,'c3c2ed52-3845-4c25-bda3-151b1d0cf1ee','874993e9-58ee-4dde-91eb-385a2463e561','job.state','{"job": "874993e9-58ee-4dde-91eb-385a2463e561", "state": "new"}');
INSERT INTO "events" VALUES(2,1.79562515372180557257e+09,'c3c2ed52-3845-4c25-bda3-151b1d0cf1ee','874993e9-58ee-4dde-91eb-385a2463e561','job.state','{"job": "874993e9-58ee-4dde-91eb-385a2463e561", "state": "queued"}');
INSERT INTO "events" VALUES(3,1.79562515374356460569e+09,'c3c2ed52-3845-4c25-bda3-151b1d0cf1ee','874993e9-58ee-4dde-91eb-385a2463e561','job.state','{"job": "874993e9-58ee-4dde-91eb-385a2463e561", "state": "processing"}');
INSERT INTO "events" VALUES(4,1.79562515383767604829e+09,'c3c2ed52-3845-4c25-bda3-151b1d0cf1ee','874993e9-58ee-4dde-91eb-385a2463e561','page.state','{"job": "874993e9-58ee-4dde-91eb-385a2463e561", "page": "a.jpg", "state": "done", "quality": 100.0}');
INSERT INTO "events" VALUES(5,1.79562515383767604829e+09,'c3c2ed52-3845-4c25-bda3-151b1d0cf1ee','874993e9-58ee-4dde-91eb-385a2463e561','job.progress','{"job": "874993e9-58ee-4dde-91eb-385a2463e561", "progress": 0.5, "pages": 2, "failed": 0}');
INSERT INTO "events" VALUES(6,1.79562515392604374886e+09,'c3c2ed52-3845-4c25-bda3-151b1d0cf1ee','874993e9-58ee-4dde-91eb-385a2463e561','page.state','{"job": "874993e9-58ee-4dde-91eb-385a2463e561", "page": "fail.jpg", "state": "failed", "quality": null}');
INSERT INTO "events" VALUES(7,1.79562515392604374886e+09,'c3c2ed52-3845-4c25-bda3-151b1d0cf1ee','874993e9-58ee-4dde-91eb-385a2463e561','job.progress','{"job": "874993e9-58ee-4dde-91eb-385a2463e561", "progress": 1, "pages": 2, "failed": 1}');
INSERT INTO "events" VALUES(8,1.79562515392604374886e+09,'c3c2ed52-3845-4c25-bda3-151b1d0cf1ee','874993e9-58ee-4dde-91eb-385a2463e561','job.state','{"job": "874993e9-58ee-4dde-91eb-385a2463e561", "state": "done"}');
INSERT INTO "events" VALUES(9,1.79562515399389457698e+09,'c3c2ed52-3845-4c25-bda3-151b1d0cf1ee','f549bf70-7285-4e24-b922-aa482eb88b02','job.state','{"job": "f549bf70-7285-4e24-b922-aa482eb88b02", "state": "new"}');
INSERT INTO "events" VALUES(10,1.79562515402615904803e+09,'c3c2ed52-3845-4c25-bda3-151b1d0cf1ee','fc5c282f-d3a2-4568-ac4b-9ffcc9ffaa51','job.state','{"job": "fc5c282f-d3a2-4568-ac4b-9ffcc9ffaa51", "state": "new"}');
CREATE TABLE idempotency (
	owner VARCHAR(36) NOT NULL, 
	"key" VARCHAR(255) NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	status INTEGER NOT NULL, 
	reply TEXT NOT NULL, 
	created FLOAT NOT NULL, 
	PRIMARY KEY (owner, "key")
);
CREATE TABLE instances (
	id VARCHAR(36) NOT NULL, 
	seen FLOAT NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE jobs (
	number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	id VARCHAR(36) NOT NULL, 
	api VARCHAR(8) NOT NULL, 
	owner VARCHAR(36) NOT NULL, 
	worker VARCHAR(36), 
	engine VARCHAR(36), 
	backend VARCHAR(16) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	progress FLOAT NOT NULL, 
	previous_attempts INTEGER, 
	meta_json_required BOOLEAN NOT NULL, 
	meta_json_uploaded BOOLEAN NOT NULL, 
	alto_required BOOLEAN NOT NULL, 
	page_required BOOLEAN NOT NULL, 
	pages INTEGER NOT NULL, 
	missing INTEGER NOT NULL, 
	open INTEGER NOT NULL, 
	failed INTEGER NOT NULL, 
	created FLOAT NOT NULL, 
	started FLOAT, 
	changed FLOAT NOT NULL, 
	finished FLOAT, 
	log TEXT, 
	log_user TEXT, 
	name VARCHAR(255), 
	formats JSON, 
	priority INTEGER NOT NULL, 
	webhook JSON, 
	labels JSON, 
	retention_days FLOAT, 
	files_gone BOOLEAN NOT NULL, 
	progress_told FLOAT, 
	UNIQUE (id)
);
INSERT INTO "jobs" VALUES(1,'874993e9-58ee-4dde-91eb-385a2463e561','v1','c3c2ed52-3845-4c25-bda3-151b1d0cf1ee',NULL,'2c2625fd-a986-43a0-8fb8-fb3fdac8c47b','farm','done',1.0,0,0,0,0,0,2,0,0,1,1.79562515353802800181e+09,1.79562515374356460569e+09,1.79562515392604374886e+09,1.79562515392604374886e+09,NULL,NULL,'Box 7','["page", "text"]',0,'null','{"shelf": "7"}',NULL,0,1.79562515392604374886e+09);
INSERT INTO "jobs" VALUES(2,'f549bf70-7285-4e24-b922-aa482eb88b02','v1','c3c2ed52-3845-4c25-bda3-151b1d0cf1ee',NULL,'2c2625fd-a986-43a0-8fb8-fb3fdac8c47b','farm','new',0.0,NULL,0,0,0,0,1,1,1,0,1.79562515399389457698e+09,NULL,1.79562515399389457698e+09,NULL,NULL,NULL,NULL,'null',0,'null','null',NULL,0,NULL);
INSERT INTO "jobs" VALUES(3,'fc5c282f-d3a2-4568-ac4b-9ffcc9ffaa51','legacy','c3c2ed52-3845-4c25-bda3-151b1d0cf1ee',NULL,'2c2625fd-a986-43a0-8fb8-fb3fdac8c47b','farm','new',0.0,NULL,0,0,0,0,1,1,1,0,1.79562515402615904803e+09,NULL,1.79562515402615904803e+09,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,0,NULL);
CREATE TABLE keys (
	id VARCHAR(36) NOT NULL, 
	kid VARCHAR(64), 
	salt VARCHAR(64) NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	whole VARCHAR(64), 
	label VARCHAR(255) NOT NULL, 
	role VARCHAR(16) NOT NULL, 
	active BOOLEAN NOT NULL, 
	created FLOAT NOT NULL, 
	last_used FLOAT, 
	expires FLOAT, 
	share FLOAT NOT NULL, 
	pages_per_day INTEGER, 
	pages_waiting INTEGER, 
	requests_per_minute INTEGER, 
	max_upload BIGINT, 
	webhook_secrets JSON, 
	PRIMARY KEY (id), 
	UNIQUE (kid), 
	UNIQUE (whole), 
	UNIQUE (label)
);
INSERT INTO "keys" VALUES('ce0a16b4-d126-4d68-aa6b-7c8989c6e17a','7yFuiNbi','426f04307672bc29e981739a6b19b180','f1cc9a1dd1cc69a264c40855b3e94324dea5adc878631a32d5f7af950f963f81',NULL,'the-admin','admin',1,1.79562515221180963513e+09,1.79562515336417555808e+09,NULL,1.0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "keys" VALUES('c3c2ed52-3845-4c25-bda3-151b1d0cf1ee','uGKnn8Xd','172c63a3753fbd383d88e35ea738c1f9','732642e95390a338ae587aa3866298625d45a208952cdd7f22cf50d9971edc9e',NULL,'a-user','user',1,1.79562515338272237776e+09,1.79562515349518752099e+09,NULL,1.0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "keys" VALUES('567b5344-6128-460f-9a53-48db178ad2a8','--taGmEf','22729d0656c7f67dab58baff2962e6d2','5bf87d811f5abbaad19d3b7d131d77dc0ac01186308a8e1761a2171815e2743a',NULL,'another-user','user',1,1.79562515342241668702e+09,NULL,NULL,1.0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "keys" VALUES('f13ca95d-1f3e-417e-a5cf-e84f9ea91d24','wfSknVLm','7446760983ced9cf0de1dc4f132ac6ab','34e256c43e58d17bf97ff55530ad241191266ade5ae8bc86456dd0ebcf4f6b7a',NULL,'a-worker','worker',1,1.79562515345031976704e+09,NULL,NULL,1.0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "keys" VALUES('708fb5e4-ece4-4b22-8efb-3ae298f3310c','z9fP-K1p','5b9d8066d8807887ad49f762776a57e1','ccfdf531ae9004fe0efbbe3f6e1c74166669cbf44e2822a59f44c6b154aac3b9',NULL,'a-reader','readonly',1,1.79562515347799849505e+09,NULL,NULL,1.0,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE pages (
	number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	id VARCHAR(36) NOT NULL, 
	job VARCHAR(36) NOT NULL, 
	owner VARCHAR(36) NOT NULL, 
	backend VARCHAR(16) NOT NULL, 
	engine VARCHAR(36), 
	name VARCHAR(1020) NOT NULL, 
	position INTEGER NOT NULL, 
	priority INTEGER NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	failure VARCHAR(24), 
	error TEXT, 
	url TEXT, 
	document VARCHAR(36), 
	frame INTEGER NOT NULL, 
	frames INTEGER, 
	image_uploaded BOOLEAN NOT NULL, 
	alto_uploaded BOOLEAN NOT NULL, 
	page_uploaded BOOLEAN NOT NULL, 
	image_bytes BIGINT, 
	image_sha256 VARCHAR(64), 
	trace VARCHAR(64), 
	sent_by VARCHAR(36), 
	sent FLOAT, 
	changed FLOAT NOT NULL, 
	finished FLOAT, 
	attempts INTEGER NOT NULL, 
	quality FLOAT, 
	worst_line FLOAT, 
	lines INTEGER, 
	engine_text TEXT, 
	worker TEXT, 
	seconds JSON, 
	worker_seconds FLOAT NOT NULL, 
	UNIQUE (job, name), 
	UNIQUE (id)
);
INSERT INTO "pages" VALUES(1,'c2c12319-d678-44d6-a509-67edce7c6fee','874993e9-58ee-4dde-91eb-385a2463e561','c3c2ed52-3845-4c25-bda3-151b1d0cf1ee','farm','2c2625fd-a986-43a0-8fb8-fb3fdac8c47b','a.jpg',0,0,'done',NULL,NULL,NULL,NULL,0,NULL,1,0,0,1770,'925b496bb17818367feb6572dec13fd46e8fc567d70c645de20fc53f78db04e8','cf2538a716a6ae67',NULL,NULL,1.79562515383767604829e+09,1.79562515383767604829e+09,1,100.0,100.0,1,'dummy 55fb581cb1b9','local-1','{"total": 0.0011, "write": 0.0006}',0.0011);
INSERT INTO "pages" VALUES(2,'a8084926-5c93-4628-88cc-b35ffc4ee8cc','874993e9-58ee-4dde-91eb-385a2463e561','c3c2ed52-3845-4c25-bda3-151b1d0cf1ee','farm','2c2625fd-a986-43a0-8fb8-fb3fdac8c47b','fail.jpg',1,0,'failed','PROCESSING_FAILED','the dummy engine was told to fail on fail.jpg',NULL,NULL,0,NULL,1,0,0,1770,'925b496bb17818367feb6572dec13fd46e8fc567d70c645de20fc53f78db04e8','2af3449ec38fe16b',NULL,NULL,1.79562515392604374886e+09,1.79562515392604374886e+09,3,NULL,NULL,0,'dummy','local-1','{}',0.0002);
INSERT INTO "pages" VALUES(3,'9b552a2e-17ca-43ea-bb84-8b5cd7bbeab9','f549bf70-7285-4e24-b922-aa482eb88b02','c3c2ed52-3845-4c25-bda3-151b1d0cf1ee','farm','2c2625fd-a986-43a0-8fb8-fb3fdac8c47b','later.jpg',0,0,'created',NULL,NULL,NULL,NULL,0,NULL,0,0,0,NULL,NULL,'d10d1d9ce6f88d77',NULL,NULL,1.79562515399389457698e+09,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,0.0);
INSERT INTO "pages" VALUES(4,'deb27f15-1cf0-4f47-8432-b554fd9e6bfb','fc5c282f-d3a2-4568-ac4b-9ffcc9ffaa51','c3c2ed52-3845-4c25-bda3-151b1d0cf1ee','farm','2c2625fd-a986-43a0-8fb8-fb3fdac8c47b','x.jpg',0,0,'created',NULL,NULL,NULL,NULL,0,NULL,0,0,0,NULL,NULL,'86145e9a5ff5d77a',NULL,NULL,1.79562515402615904803e+09,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,0.0);
CREATE TABLE results (
	page VARCHAR(36) NOT NULL, 
	format VARCHAR(16) NOT NULL, 
	job VARCHAR(36) NOT NULL, 
	bytes BIGINT NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	PRIMARY KEY (page, format)
);
INSERT INTO "results" VALUES('c2c12319-d678-44d6-a509-67edce7c6fee','page','874993e9-58ee-4dde-91eb-385a2463e561',1207,'5a39d86cd7351e3dfcb3ee8e8b5ab7ba8099f9dd778c5854547d2ebac145d6b9');
INSERT INTO "results" VALUES('c2c12319-d678-44d6-a509-67edce7c6fee','text','874993e9-58ee-4dde-91eb-385a2463e561',25,'96b0c70e089232a370fc6f9d2235751880801aa05e56e4384fe90b02cf78588e');
CREATE TABLE uploads (
	id VARCHAR(36) NOT NULL, 
	owner VARCHAR(36) NOT NULL, 
	job VARCHAR(36) NOT NULL, 
	name VARCHAR(1020) NOT NULL, 
	length BIGINT NOT NULL, 
	expires FLOAT NOT NULL, 
	PRIMARY KEY (id)
);
CREATE INDEX jobs_by_end ON jobs (files_gone, finished);
CREATE INDEX jobs_of_day ON jobs (owner, created);
CREATE INDEX jobs_of_owner ON jobs (owner, number);
CREATE INDEX jobs_to_lease ON jobs (backend, state, priority, number);
CREATE INDEX pages_of_owner ON pages (owner, finished);
CREATE INDEX pages_of_job ON pages (job, position, number);
CREATE INDEX pages_sent ON pages (state, sent_by);
CREATE INDEX pages_to_do ON pages (backend, state, owner, priority, number);
CREATE INDEX ix_results_job ON results (job);
CREATE INDEX ix_idempotency_created ON idempotency (created);
CREATE INDEX ix_events_time ON events (time);
CREATE INDEX events_of_job ON events (job, number);
CREATE INDEX ix_uploads_expires ON uploads (expires);
CREATE INDEX ix_uploads_owner ON uploads (owner);
CREATE INDEX deliveries_due ON deliveries (state, next);
CREATE INDEX deliveries_of_owner ON deliveries (owner, number);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('engine_numbers',2);
INSERT INTO "sqlite_sequence" VALUES('jobs',3);
INSERT INTO "sqlite_sequence" VALUES('pages',4);
INSERT INTO "sqlite_sequence" VALUES('events',10);
COMMIT;
