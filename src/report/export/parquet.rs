//! Apache Parquet: the columns of `usage`, amounts and instants as types of their own, a row group at a time.

use std::io;
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::{ByteArray, FixedLenByteArray};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{Type, TypePtr};

use crate::domain::call::Call;
use crate::report::usage::{COLUMNS, Column, Kind, Value};

/// Rows of one row group: a group is held until it is full, some tens of megabytes.
const ROW_GROUP: usize = 20_000;

/// Digits of an amount in dollars, and how many of them stand behind the point: pico-dollars, as PostgreSQL's column has them.
const PRECISION: i32 = 20;
const SCALE: i32 = 12;

/// Bytes that so many digits take.
const DECIMAL_BYTES: usize = 9;

/// What of a column is held until its row group is full.
#[derive(Debug)]
enum Held {
    Long(Vec<i64>),
    Truth(Vec<bool>),
    Text(Vec<ByteArray>),
    Decimal(Vec<FixedLenByteArray>),
}

#[derive(Debug)]
struct Chunk {
    held: Held,
    /// 1 where there is a value, 0 for NULL.
    levels: Vec<i16>,
}

/// A file under way.
#[derive(Debug)]
pub(super) struct Writer {
    file: SerializedFileWriter<Vec<u8>>,
    chunks: Vec<Chunk>,
    rows: usize,
}

impl Writer {
    pub(super) fn new() -> io::Result<Self> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_created_by(concat!("tallyd ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let file = SerializedFileWriter::new(Vec::new(), schema().map_err(failed)?, Arc::new(properties));
        Ok(Self { file: file.map_err(failed)?, chunks: chunks(), rows: 0 })
    }

    pub(super) fn write(&mut self, rows: &[Call]) -> io::Result<Vec<u8>> {
        for call in rows {
            for (column, chunk) in COLUMNS.iter().zip(&mut self.chunks) {
                chunk.push(column.of(call));
            }
            self.rows += 1;
            if self.rows >= ROW_GROUP {
                self.end_group()?;
            }
        }
        Ok(std::mem::take(self.file.inner_mut()))
    }

    pub(super) fn finish(mut self) -> io::Result<Vec<u8>> {
        if self.rows > 0 {
            self.end_group()?;
        }
        self.file.finish().map_err(failed)?;
        Ok(std::mem::take(self.file.inner_mut()))
    }

    fn end_group(&mut self) -> io::Result<()> {
        self.rows = 0;
        let chunks = std::mem::replace(&mut self.chunks, chunks());
        write_group(&mut self.file, chunks).map_err(failed)
    }
}

fn write_group(file: &mut SerializedFileWriter<Vec<u8>>, chunks: Vec<Chunk>) -> Result<(), ParquetError> {
    let mut group = file.next_row_group()?;
    for (column, Chunk { held, levels }) in COLUMNS.iter().zip(chunks) {
        let Some(mut writer) = group.next_column()? else { break };
        let levels = column.nullable.then_some(levels.as_slice());
        match (writer.untyped(), held) {
            (ColumnWriter::Int64ColumnWriter(to), Held::Long(values)) => to.write_batch(&values, levels, None)?,
            (ColumnWriter::BoolColumnWriter(to), Held::Truth(values)) => to.write_batch(&values, levels, None)?,
            (ColumnWriter::ByteArrayColumnWriter(to), Held::Text(values)) => to.write_batch(&values, levels, None)?,
            (ColumnWriter::FixedLenByteArrayColumnWriter(to), Held::Decimal(values)) => {
                to.write_batch(&values, levels, None)?
            }
            _ => return Err(ParquetError::General(format!("{} is of another type than its schema", column.name))),
        };
        writer.close()?;
    }
    group.close()?;
    Ok(())
}

fn chunks() -> Vec<Chunk> {
    let chunk = |column: &Column| {
        let held = match column.kind {
            Kind::Integer | Kind::Picousd | Kind::Instant => Held::Long(Vec::new()),
            Kind::Boolean => Held::Truth(Vec::new()),
            Kind::Usd => Held::Decimal(Vec::new()),
            Kind::Text | Kind::Id | Kind::Pairs | Kind::Json | Kind::List | Kind::Words => Held::Text(Vec::new()),
        };
        Chunk { held, levels: Vec::new() }
    };
    COLUMNS.iter().map(chunk).collect()
}

impl Chunk {
    fn push(&mut self, value: Option<Value<'_>>) {
        self.levels.push(value.is_some().into());
        let Some(value) = value else { return };
        match (&mut self.held, value) {
            (Held::Long(values), Value::Integer(number)) => values.push(number),
            (Held::Long(values), Value::Picousd(amount)) => values.push(amount.picos()),
            (Held::Long(values), Value::Instant(at)) => values.push(at.millis()),
            (Held::Truth(values), Value::Boolean(truth)) => values.push(truth),
            (Held::Decimal(values), Value::Usd(amount)) => {
                let bytes = i128::from(amount.picos()).to_be_bytes();
                values.push(ByteArray::from(bytes[bytes.len() - DECIMAL_BYTES..].to_vec()).into());
            }
            (Held::Text(values), value) => values.push(ByteArray::from(value.plain().as_bytes().to_vec())),
            // A column's kind and its values are one macro's: this is not reached, and a file would not be written.
            (Held::Long(_) | Held::Truth(_) | Held::Decimal(_), _) => {}
        }
    }
}

fn schema() -> Result<TypePtr, ParquetError> {
    let field = |column: &Column| {
        let repetition = if column.nullable { Repetition::OPTIONAL } else { Repetition::REQUIRED };
        let (physical, logical) = match column.kind {
            Kind::Integer | Kind::Picousd => (Physical::INT64, None),
            Kind::Instant => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MILLIS))),
            Kind::Boolean => (Physical::BOOLEAN, None),
            Kind::Usd => (Physical::FIXED_LEN_BYTE_ARRAY, Some(LogicalType::decimal(SCALE, PRECISION))),
            Kind::Text | Kind::Id | Kind::Pairs | Kind::Json | Kind::List | Kind::Words => {
                (Physical::BYTE_ARRAY, Some(LogicalType::String))
            }
        };
        let mut builder =
            Type::primitive_type_builder(column.name, physical).with_repetition(repetition).with_logical_type(logical);
        if column.kind == Kind::Usd {
            let length = i32::try_from(DECIMAL_BYTES).unwrap_or(i32::MAX);
            builder = builder.with_length(length).with_precision(PRECISION).with_scale(SCALE);
        }
        builder.build().map(Arc::new)
    };
    let fields = COLUMNS.iter().map(field).collect::<Result<_, _>>()?;
    Type::group_type_builder("usage").with_fields(fields).build().map(Arc::new)
}

fn failed(error: ParquetError) -> io::Error {
    io::Error::other(error)
}
