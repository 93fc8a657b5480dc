#include "extensions/access_loggers/config.h"

#include <google/protobuf/struct.pb.h>

#include <string>

#include "envoy/config/core/v3/substitution_format_string.pb.h"
#include "envoy/extensions/access_loggers/file/v3/file.pb.h"
#include "envoy/extensions/access_loggers/stream/v3/stream.pb.h"
#include "extensions/access_loggers/common/formatter.h"
#include "extensions/access_loggers/file/file_logger.h"
#include "extensions/common/proto_util.h"

namespace sluice::access_loggers {
namespace {

using envoy::config::core::v3::SubstitutionFormatString;
using FormatterPtr = std::unique_ptr<Formatter>;
using google::protobuf::Value;

JsonTemplate to_template(const google::protobuf::Struct& s);

JsonTemplate to_template(const Value& v) {
  switch (v.kind_case()) {
    case Value::kBoolValue:
      return {v.bool_value()};
    case Value::kNumberValue:
      return {v.number_value()};
    case Value::kStringValue:
      return {v.string_value()};
    case Value::kStructValue:
      return to_template(v.struct_value());
    case Value::kListValue: {
      JsonTemplate::List list;
      for (const Value& item : v.list_value().values()) list.push_back(to_template(item));
      return {std::move(list)};
    }
    case Value::kNullValue:
    case Value::KIND_NOT_SET:
      break;
  }
  return {nullptr};
}

JsonTemplate to_template(const google::protobuf::Struct& s) {
  JsonTemplate::Object object;
  for (const auto& [key, value] : s.fields()) object[key] = to_template(value);
  return {std::move(object)};
}

Result<FormatterPtr> at(std::string_view path, Result<FormatterPtr> formatter) {
  if (!formatter.ok()) return std::move(formatter).error().prefixed(path);
  return formatter;
}

Result<ext::AccessLoggerPtr> make_logger(Result<FormatterPtr> formatter, const std::string& file,
                                         ext::FactoryContext& context, const std::string& path) {
  if (!formatter.ok()) return std::move(formatter).error();
  auto opened = context.access_logs().open(file);
  if (!opened.ok()) return std::move(opened).error().prefixed(path);
  return ext::AccessLoggerPtr(
      std::make_shared<FileLogger>(std::move(formatter).value(), std::move(opened).value()));
}

Result<ext::AccessLoggerPtr> create_file(const google::protobuf::Message& message,
                                         ext::FactoryContext& context, std::string_view path) {
  using Proto = envoy::extensions::access_loggers::file::v3::FileAccessLog;
  const auto& proto = static_cast<const Proto&>(message);
  const std::string base(path), file_path = base + ".path";
  switch (proto.access_log_format_case()) {
    case Proto::kLogFormat:
      return make_logger(make_formatter(proto.log_format(), base + ".log_format"), proto.path(), context,
                         file_path);
    case Proto::kFormat:
      return make_logger(at(base + ".format", make_text_formatter(proto.format())), proto.path(), context,
                         file_path);
    case Proto::kTypedJsonFormat:
      return make_logger(
          at(base + ".typed_json_format", make_json_formatter(to_template(proto.typed_json_format()))),
          proto.path(), context, file_path);
    case Proto::kJsonFormat:
      return Error{base + ".json_format: deprecated and untyped; use log_format.json_format"};
    case Proto::ACCESS_LOG_FORMAT_NOT_SET:
      break;
  }
  return make_logger(make_text_formatter(kDefaultFormat), proto.path(), context, file_path);
}

// StdoutAccessLog and StderrAccessLog have the same fields.
template <typename Proto>
Result<ext::AccessLoggerPtr> create_stream(const google::protobuf::Message& message,
                                           ext::FactoryContext& context, std::string_view path,
                                           const char* file) {
  const auto& proto = static_cast<const Proto&>(message);
  const std::string base(path);
  auto formatter = proto.has_log_format() ? make_formatter(proto.log_format(), base + ".log_format")
                                          : make_text_formatter(kDefaultFormat);
  return make_logger(std::move(formatter), file, context, base);
}

Result<ext::AccessLoggerPtr> create_stdout(const google::protobuf::Message& message,
                                           ext::FactoryContext& context, std::string_view path) {
  using Proto = envoy::extensions::access_loggers::stream::v3::StdoutAccessLog;
  return create_stream<Proto>(message, context, path, "/dev/stdout");
}

Result<ext::AccessLoggerPtr> create_stderr(const google::protobuf::Message& message,
                                           ext::FactoryContext& context, std::string_view path) {
  using Proto = envoy::extensions::access_loggers::stream::v3::StderrAccessLog;
  return create_stream<Proto>(message, context, path, "/dev/stderr");
}

std::vector<ext::Honoured> honoured(std::string_view type, std::string_view fields) {
  return {{.message = type, .fields = fields},
          {.message = "envoy.config.core.v3.SubstitutionFormatString",
           .fields = "text_format json_format text_format_source omit_empty_values json_format_options",
           .meaningless = {{"content_type", "the type of an HTTP body; a log has none"}}},
          {.message = "envoy.config.core.v3.JsonFormatOptions",
           .fields = "",
           .meaningless = {{"sort_properties",
                            "members are always sorted by name, as Envoy has done since 1.32"}}},
          {.message = "envoy.config.core.v3.DataSource",
           .fields = "filename inline_bytes inline_string environment_variable"}};
}

}  // namespace

Result<std::unique_ptr<Formatter>> make_formatter(const SubstitutionFormatString& f,
                                                  const std::string& path) {
  FormatOptions options;
  options.omit_empty_values = f.omit_empty_values();
  switch (f.format_case()) {
    case SubstitutionFormatString::kTextFormat:
      return at(path + ".text_format", make_text_formatter(f.text_format(), options));
    case SubstitutionFormatString::kTextFormatSource: {
      SLUICE_ASSIGN(std::string text,
                    extensions::read_data_source(f.text_format_source(), path + ".text_format_source"));
      return at(path + ".text_format_source", make_text_formatter(text, options));
    }
    case SubstitutionFormatString::kJsonFormat:
      return at(path + ".json_format", make_json_formatter(to_template(f.json_format()), options));
    case SubstitutionFormatString::FORMAT_NOT_SET:
      break;
  }
  return Error{path + ": one of text_format, text_format_source, json_format is needed"};
}

ext::Extension<ext::AccessLoggerPtr> file_extension() {
  constexpr std::string_view kType = "envoy.extensions.access_loggers.file.v3.FileAccessLog";
  return {.name = "envoy.access_loggers.file",
          .type = std::string(kType),
          .create = &create_file,
          .honoured = honoured(kType, "path format typed_json_format log_format")};
}

ext::Extension<ext::AccessLoggerPtr> stdout_extension() {
  constexpr std::string_view kType = "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog";
  return {.name = "envoy.access_loggers.stdout",
          .type = std::string(kType),
          .create = &create_stdout,
          .honoured = honoured(kType, "log_format")};
}

ext::Extension<ext::AccessLoggerPtr> stderr_extension() {
  constexpr std::string_view kType = "envoy.extensions.access_loggers.stream.v3.StderrAccessLog";
  return {.name = "envoy.access_loggers.stderr",
          .type = std::string(kType),
          .create = &create_stderr,
          .honoured = honoured(kType, "log_format")};
}

}  // namespace sluice::access_loggers
