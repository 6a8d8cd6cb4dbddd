//! Every form of an export, read back: it holds the rows of `usage`, and sums to what the ledger sums to.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::NaiveDateTime;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::Field;
use tallyd::domain::money::Money;
use tallyd::domain::table::Cell;
use tallyd::domain::time::Timestamp;

use super::unusual;
use crate::pages::fixture::Scene;
use crate::store::engines::on_a_postgres_of_its_own;
use crate::support::installation::Installation;

/// The columns of FOCUS 1.2, with their levels and rules.
const FOCUS: &str = include_str!("focus-1.2.csv");

/// A file of columns: its head, and its rows.
struct Read {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

fn read(text: &[u8]) -> Read {
    let mut reader = csv::Reader::from_reader(text);
    let head = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let rows = reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect();
    Read { head, rows }
}

impl Read {
    fn cells(&self, column: &str) -> impl Iterator<Item = &str> {
        let at = self.head.iter().position(|name| name == column).unwrap();
        self.rows.iter().map(move |row| row[at].as_str())
    }

    fn sum(&self, column: &str) -> i128 {
        self.cells(column)
            .filter(|cell| !cell.is_empty())
            .map(|cell| i128::from(Money::parse(cell).unwrap().picos()))
            .sum()
    }
}

async fn scene(at: Installation) -> Scene {
    let scene = Scene::on(at).await;
    scene.fill().await;
    scene.submit(unusual(&scene)).await;
    scene
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_reads_back_as_the_ledger_holds_it_on_sqlite() {
    let scene = scene(Installation::new("http://127.0.0.1:9/api/v1", "")).await;
    reads_back(&scene).await;
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_reads_back_as_the_ledger_holds_it_on_postgres() {
    on_a_postgres_of_its_own("exports", async |url| {
        let scene = scene(Installation::on(url, "http://127.0.0.1:9/api/v1", "")).await;
        reads_back(&scene).await;
        scene.running.stop().await;
    })
    .await;
}

async fn reads_back(scene: &Scene) {
    let view = scene.at.sql("SELECT * FROM usage ORDER BY created_ms DESC, call_id DESC").await;
    let known = scene.at.number("SELECT SUM(cost_picousd) FROM usage").await;
    assert!(view.len() > 1_400);

    let csv = exported(scene, "csv").await;
    let read_csv = read(&csv);
    assert_eq!(read_csv.rows.len(), view.len());
    assert_eq!(read_csv.head.len(), view[0].len(), "a column of the view is not in the file");
    for (row, expected) in read_csv.rows.iter().zip(&view) {
        for ((name, cell), expected) in read_csv.head.iter().zip(row).zip(expected) {
            assert!(is_same(cell, expected), "{name}: {cell:?} is not {expected:?}");
        }
    }
    assert_eq!(read_csv.sum("cost_usd"), known);
    assert_eq!(read_csv.cells("cost_picousd").filter_map(|cell| cell.parse::<i128>().ok()).sum::<i128>(), known);
    assert!(read_csv.cells("app").any(|cell| cell == "'=cmd|' /C calc'!A0"), "a formula is not defused");

    let ndjson = String::from_utf8(exported(scene, "ndjson").await).unwrap();
    let lines: Vec<serde_json::Value> = ndjson.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), view.len());
    let sum: i128 = lines.iter().filter_map(|line| line["cost_picousd"].as_str()?.parse::<i128>().ok()).sum();
    assert_eq!(sum, known);
    for (line, row) in lines.iter().zip(&read_csv.rows) {
        let names: Vec<&String> = line.as_object().unwrap().keys().collect();
        assert_eq!(names, read_csv.head.iter().collect::<Vec<_>>());
        assert_eq!(line["call_id"], row[0].as_str());
        assert!(line["flags"].is_array() && (line["tags"].is_object() || line["tags"].is_null()), "{line}");
    }
    assert!(lines.iter().any(|line| line["routing"]["order"][0] == "azure" && line["tags"]["team"] == "a,\n\"b\""));

    let parquet = SerializedFileReader::new(Bytes::from(exported(scene, "parquet").await)).unwrap();
    assert_eq!(parquet.metadata().file_metadata().num_rows(), i64::try_from(view.len()).unwrap());
    for (row, expected) in parquet.get_row_iter(None).unwrap().zip(&view) {
        let row = row.unwrap();
        for ((name, field), expected) in row.get_column_iter().zip(expected) {
            assert!(is_same(&told(field), expected), "{name}: {field:?} is not {expected:?}");
        }
    }
    let types: BTreeMap<String, String> = parquet
        .metadata()
        .file_metadata()
        .schema_descr()
        .columns()
        .iter()
        .map(|column| (column.name().to_owned(), format!("{:?}", column.logical_type_ref())))
        .collect();
    for (column, like) in [("cost_usd", "Decimal"), ("created_at", "Timestamp"), ("model", "String")] {
        assert!(types[column].contains(like), "{column}: {}", types[column]);
    }

    let spend: serde_json::Value = scene.caller.get("/tally/v1/spend?by=app&since=2000-01-01").await.json();
    let spend: i128 = spend["rows"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|row| Some(i128::from(Money::parse(row["cost_usd"].as_str()?).unwrap().picos())))
        .sum();
    assert_eq!(spend, known);

    let focus = read(&exported(scene, "focus").await);
    assert_eq!((focus.sum("BilledCost"), focus.sum("EffectiveCost")), (known, known));
    let charges = "SELECT COUNT(cost_picousd) + COUNT(CASE WHEN is_byok THEN cost_picousd END) FROM usage WHERE state <> 'failed'";
    assert_eq!(i128::try_from(focus.rows.len()).unwrap(), scene.at.number(charges).await);
    keeps_to_focus(&focus);
}

/// A file over HTTP, which must be what the command writes, and what it tells standard output.
async fn exported(scene: &Scene, form: &str) -> Vec<u8> {
    let path = if form == "focus" { "completions.focus.csv".to_owned() } else { format!("completions.{form}") };
    let reply = scene.caller.get(&format!("/tally/v1/{path}")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let disposition = reply.headers["content-disposition"].to_str().unwrap();
    assert!(disposition.starts_with("attachment; filename=\"tallyd-"), "{disposition}");
    let file = scene.at.folder().join(format!("taken.{form}"));
    let ended = scene.at.run(&["export", "--format", form, "--output", file.to_str().unwrap()]).await;
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), ""), "{}", ended.err);
    assert!(ended.err.contains(" completions"), "{}", ended.err);
    assert!(std::fs::read(&file).unwrap() == reply.body, "the command's {form} is another than the API's");
    if form == "csv" {
        let ended = scene.at.run(&["export"]).await;
        assert!(ended.out.as_bytes() == &reply.body[..], "standard output holds something else");
    }
    reply.body
}

/// Whether a cell tells what the view holds; an amount that SQLite's view rounds is compared as far as it goes.
fn is_same(cell: &str, expected: &Cell) -> bool {
    match expected {
        Cell::Null => cell.is_empty(),
        Cell::Integer(number) => cell == number.to_string() || cell == if *number == 0 { "false" } else { "true" },
        Cell::Boolean(truth) => cell == truth.to_string(),
        Cell::Real(rounded) => {
            let exact: f64 = cell.parse().unwrap();
            (exact - rounded).abs() <= rounded.abs() * 1e-12
        }
        Cell::Decimal(amount) => cell == Money::parse(amount).unwrap().to_decimal() || cell == amount,
        Cell::Text(text) => cell == text || cell.strip_prefix('\'') == Some(text),
    }
}

/// A value of Parquet as CSV would have it.
fn told(field: &Field) -> String {
    match field {
        Field::Null => String::new(),
        Field::Bool(truth) => truth.to_string(),
        Field::Long(number) => number.to_string(),
        Field::Str(text) => text.clone(),
        Field::TimestampMillis(at) => Timestamp(*at).to_iso(),
        Field::Decimal(decimal) => {
            assert_eq!((decimal.precision(), decimal.scale()), (20, 12));
            let negative = decimal.data()[0] & 0x80 != 0;
            let start = if negative { -1_i128 } else { 0 };
            let picos = decimal.data().iter().fold(start, |picos, byte| picos << 8 | i128::from(*byte));
            Money::from_picos(i64::try_from(picos).unwrap()).to_decimal()
        }
        other => panic!("{other:?} is no type of an export"),
    }
}

/// The rules of FOCUS 1.2 for columns: which there must be, of which type, and which may be null.
fn keeps_to_focus(file: &Read) {
    let spec: BTreeMap<String, (String, bool, String)> = csv::Reader::from_reader(FOCUS.as_bytes())
        .records()
        .map(|row| row.unwrap())
        .map(|row| (row[0].to_owned(), (row[1].to_owned(), &row[2] == "True", row[3].to_owned())))
        .collect();
    assert_eq!(spec.len(), 57);
    for (column, (level, ..)) in &spec {
        assert!(level != "Mandatory" || file.head.contains(column), "{column} must be there");
    }
    for column in &file.head {
        let Some((_, nullable, kind)) = spec.get(column) else {
            assert!(column.starts_with("x_"), "{column} is no column of FOCUS, and not marked as one of ours");
            continue;
        };
        for cell in file.cells(column) {
            if cell.is_empty() {
                assert!(nullable, "{column} is null");
                continue;
            }
            match kind.as_str() {
                "Decimal" => drop(Money::parse(cell).unwrap_or_else(|error| panic!("{column}: {cell}: {error}"))),
                "Date/Time" => drop(NaiveDateTime::parse_from_str(cell, "%Y-%m-%dT%H:%M:%SZ").unwrap()),
                "JSON" => {
                    let pairs: BTreeMap<String, serde_json::Value> = serde_json::from_str(cell).unwrap();
                    assert!(pairs.values().all(|value| !value.is_array() && !value.is_object()), "{column}: {cell}");
                }
                "String" => {}
                other => panic!("{other} is no type of FOCUS"),
            }
        }
    }
    for (column, allowed) in [
        ("ChargeCategory", &["Usage"][..]),
        ("ChargeFrequency", &["Usage-Based"]),
        ("ServiceCategory", &["AI and Machine Learning"]),
        ("ServiceSubcategory", &["Generative AI"]),
        ("BillingCurrency", &["USD"]),
        ("PricingUnit", &["Tokens", "Requests"]),
        ("ChargeClass", &[""]),
    ] {
        assert!(file.cells(column).all(|cell| allowed.contains(&cell)), "{column}");
    }
    // A charge lies within its period of a second, and that within its month.
    let times = file.cells("BillingPeriodStart").zip(file.cells("ChargePeriodStart"));
    let ends = file.cells("ChargePeriodEnd").zip(file.cells("BillingPeriodEnd"));
    for ((month, from), (until, end)) in times.zip(ends) {
        assert!(month <= from && from < until && until <= end, "{month} {from} {until} {end}");
    }
    // Tokens and requests alike are counted, never left out.
    assert!(file.cells("PricingQuantity").all(|cell| !cell.is_empty()));
    let issuers: std::collections::BTreeSet<&str> = file.cells("InvoiceIssuerName").collect();
    assert_eq!(issuers, ["Azure", "OpenRouter"].into());
}
