#include "extensions/access_loggers/config.h"

#include <doctest/doctest.h>
#include <google/protobuf/util/json_util.h>

#include "envoy/config/accesslog/v3/accesslog.pb.h"
#include "envoy/extensions/access_loggers/file/v3/file.pb.h"
#include "envoy/extensions/access_loggers/stream/v3/stream.pb.h"
#include "model/secret.h"
#include "sluice/ext/access_log_manager.h"
#include "test/unit/extensions/access_loggers/stream.h"

using namespace sluice;
using envoy::config::accesslog::v3::AccessLog;
using envoy::extensions::access_loggers::file::v3::FileAccessLog;
using envoy::extensions::access_loggers::stream::v3::StderrAccessLog;
using envoy::extensions::access_loggers::stream::v3::StdoutAccessLog;

namespace {

struct Memory final : ext::AccessLogManager {
  struct File final : ext::LogFile {
    void write(std::string_view line) override { text += line; }
    std::string text;
  };
  Result<std::shared_ptr<ext::LogFile>> open(const std::string& path) override {
    if (path == "/no") return Error{"cannot open"};
    auto& f = files[path];
    if (!f) f = std::make_shared<File>();
    return std::shared_ptr<ext::LogFile>(f);
  }
  void reopen() override {}
  void flush() override {}
  std::map<std::string, std::shared_ptr<File>> files;
};

struct Context final : ext::FactoryContext {
  ext::AccessLogManager& access_logs() override { return memory; }
  Result<ext::AccessLoggerPtr> make_access_logger(const google::protobuf::Message&,
                                                  std::string_view) override {
    return Error{"no"};
  }
  Result<ext::TracerFactory> make_tracer(const google::protobuf::Message*, std::string_view) override {
    return Error{"no"};
  }
  Result<ext::ConfiguredHttpFilter> make_http_filter(const google::protobuf::Message&,
                                                     std::string_view) override {
    return Error{"no"};
  }
  Result<std::shared_ptr<const model::RouteConfig>> make_route_config(const google::protobuf::Message&,
                                                                      std::string_view) override {
    return Error{"no"};
  }
  Result<ext::UpstreamTransportFactory> make_upstream_transport(const google::protobuf::Message&,
                                                                std::string_view) override {
    return Error{"not here"};
  }
  Result<std::shared_ptr<const model::RouteSource>> discover_routes(const google::protobuf::Message&,
                                                                    const std::string&,
                                                                    std::string_view) override {
    return Error{"no"};
  }
  Result<std::shared_ptr<const model::ScopeSource>> discover_scopes(const google::protobuf::Message&,
                                                                    const std::string&,
                                                                    std::string_view) override {
    return Error{"no"};
  }
  Result<std::shared_ptr<const model::CertificateSource>> find_certificate(const google::protobuf::Message&,
                                                                           std::string_view) override {
    return Error{"no"};
  }
  Result<std::shared_ptr<const model::ValidationSource>> find_validation(const google::protobuf::Message&,
                                                                         std::string_view) override {
    return Error{"no"};
  }
  Result<std::shared_ptr<const model::TicketKeySource>> find_ticket_keys(const google::protobuf::Message&,
                                                                         std::string_view) override {
    return Error{"no"};
  }
  Memory memory;
};

template <typename Proto>
Proto parse(const std::string& json) {
  Proto p;
  REQUIRE(google::protobuf::util::JsonStringToMessage(json, &p).ok());
  return p;
}

// What a logger of this configuration writes for the recorded stream, or its error.
template <typename Proto>
std::string record(const ext::Extension<ext::AccessLoggerPtr>& extension, const std::string& json,
                   const std::string& file) {
  Context context;
  auto logger = extension.create(parse<Proto>(json), context, "log");
  if (!logger.ok()) return "error: " + logger.error().message;
  (*logger)->log(recorded_stream(), ext::AccessLogType::tcp_connection_end);
  return context.memory.files.at(file)->text;
}

std::string file(const std::string& json) {
  return record<FileAccessLog>(access_loggers::file_extension(), json, "/a");
}

struct Null final : ext::AccessLogger {
  void log(const ext::StreamInfo&, ext::AccessLogType) const override { ++n; }
  mutable int n = 0;
};

// Whether the filter lets the stream's record through, or its error.
std::string passes(const std::string& filter, const ext::StreamInfo& info,
                   ext::AccessLogType type = ext::AccessLogType::tcp_connection_end) {
  auto null = std::make_shared<Null>();
  auto logger = access_loggers::apply_filter(parse<AccessLog>("{\"filter\":" + filter + "}"), null, "log");
  if (!logger.ok()) return logger.error().message;
  (*logger)->log(info, type);
  return null->n ? "yes" : "no";
}

}  // namespace

TEST_CASE("file logger: every way to give a format") {
  CHECK(file(R"({"path":"/a","log_format":{"text_format_source":{"inline_string":"%BYTES_SENT%\n"}}})") ==
        "10\n");
  CHECK(
      file(
          R"({"path":"/a","log_format":{"text_format":"%BYTES_SENT% %REQ(A)%\n","omit_empty_values":true}})") ==
      "10 \n");
  CHECK(
      file(R"({"path":"/a","log_format":{"json_format":{"b":["%BYTES_SENT%",null,1.5,true,{"c":"x"}]}}})") ==
      "{\"b\":[10,null,1.5,true,{\"c\":\"x\"}]}\n");
  CHECK(file(R"({"path":"/a","format":"%DURATION%\n"})") == "3\n");
  CHECK(file(R"({"path":"/a","typed_json_format":{"d":"%DURATION%"}})") == "{\"d\":3}\n");
  CHECK(file(R"({"path":"/a"})").starts_with("[2026-11-22T03:28:20.243Z] \"- - -\" 0"));
}

TEST_CASE("stream loggers write to the process's own descriptors") {
  CHECK(record<StdoutAccessLog>(access_loggers::stdout_extension(), R"({"log_format":{"text_format":"x"}})",
                                "/dev/stdout") == "x");
  CHECK(record<StderrAccessLog>(access_loggers::stderr_extension(), "{}", "/dev/stderr").size() > 20);
}

TEST_CASE("errors name the field") {
  CHECK(file(R"({"path":"/a","log_format":{"text_format_source":{"inline_string":"a %NOPE%"}}})")
            .starts_with("error: log.log_format.text_format_source: %NOPE% at position 2: "));
  CHECK(file(R"({"path":"/a","log_format":{"json_format":{"x":{"y":"%NOPE%"}}}})")
            .starts_with("error: log.log_format.json_format: x.y: %NOPE% at position 0: "));
  CHECK(file(R"({"path":"/no"})") == "error: log.path: cannot open");
  CHECK(file(R"({"path":"/a","log_format":{"text_format_source":{"filename":"/nonexistent"}}})")
            .find("/nonexistent") != std::string::npos);
}

TEST_CASE("filters") {
  auto ok = recorded_stream(), failed = recorded_failure();
  CHECK(passes(R"({"duration_filter":{"comparison":{"op":"GE","value":{"default_value":3}}}})", ok) == "yes");
  CHECK(passes(R"({"duration_filter":{"comparison":{"op":"GE","value":{"default_value":3}}}})", failed) ==
        "no");
  CHECK(passes(R"({"duration_filter":{"comparison":{"op":"NE","value":{"default_value":3}}}})", ok) == "no");
  CHECK(passes(R"({"status_code_filter":{"comparison":{"op":"GE","value":{"default_value":400}}}})", ok) ==
        "no");
  CHECK(passes(R"({"response_flag_filter":{}})", ok) == "no");
  CHECK(passes(R"({"response_flag_filter":{"flags":["UF","NR"]}})", failed) == "yes");
  CHECK(passes(R"({"response_flag_filter":{"flags":["RL"]}})", failed) == "no");
  CHECK(passes(R"({"not_health_check_filter":{}})", ok) == "yes");
  CHECK(
      passes(
          R"({"runtime_filter":{"runtime_key":"a","percent_sampled":{"numerator":1000000,"denominator":"MILLION"}}})",
          ok) == "yes");
  CHECK(passes(R"({"runtime_filter":{"runtime_key":"a"}})", ok) == "no");
  CHECK(passes(R"({"log_type_filter":{"types":["TcpConnectionEnd"]}})", ok) == "yes");
  CHECK(passes(R"({"log_type_filter":{"types":["TcpConnectionEnd"],"exclude":true}})", ok) == "no");
  CHECK(passes(R"({"log_type_filter":{"types":["TcpPeriodic"]}})", ok, ext::AccessLogType::tcp_periodic) ==
        "yes");
  CHECK(passes(R"({"and_filter":{"filters":[{"not_health_check_filter":{}},{"response_flag_filter":{}}]}})",
               ok) == "no");
  CHECK(passes(R"({"or_filter":{"filters":[{"not_health_check_filter":{}},{"response_flag_filter":{}}]}})",
               ok) == "yes");
  CHECK(passes(R"({"header_filter":{"header":{"name":"a","present_match":false}}})", ok) == "yes");
  CHECK(passes(R"({"grpc_status_filter":{"statuses":["UNKNOWN"]}})", ok) == "yes");
  CHECK(passes(R"({"grpc_status_filter":{"statuses":["UNKNOWN"],"exclude":true}})", ok) == "no");
  CHECK(passes(R"({"log_type_filter":{"types":["DownstreamEnd","UpstreamEnd"]}})", ok) == "no");
  ext::StreamInfo told = ok;
  told.dynamic_metadata = std::make_shared<ext::Metadata>();
  (*told.dynamic_metadata)["x"]["k"] = "\"v\"";
  for (const auto& [value, with, without] :
       {std::tuple{R"({"exact":"v"}},"path":[{"key":"k"}])", "yes", "no"},
        {R"({"exact":"w"}},"path":[{"key":"k"}])", "no", "no"}}) {
    const std::string matcher =
        R"({"metadata_filter":{"matcher":{"filter":"x","value":{"string_match":)" + std::string(value);
    CHECK(passes(matcher + R"(},"match_if_key_not_found":false}})", told) == with);
    CHECK(passes(matcher + R"(},"match_if_key_not_found":false}})", ok) == without);
    CHECK(passes(matcher + "}}}", told) == with);
    CHECK(passes(matcher + "}}}", ok) == "yes");
  }
  CHECK(passes(R"({"metadata_filter":{}})", told) == "yes");
  CHECK(passes(R"({"header_filter":{"header":{"name":"a","safe_regex_match":{"regex":"("}}}})", ok)
            .starts_with("log.filter.header_filter.header"));
  CHECK(passes(R"({"metadata_filter":{"matcher":{"filter":"x","path":[{"key":"k"}]}}})", ok)
            .starts_with("log.filter.metadata_filter.matcher.value: "));
  CHECK(passes(R"({"traceable_filter":{}})", ok) == "no");
  CHECK(passes(R"({"and_filter":{"filters":[{"not_health_check_filter":{}},{"extension_filter":{}}]}})", ok)
            .starts_with("log.filter.and_filter.filters[1]: "));
}
