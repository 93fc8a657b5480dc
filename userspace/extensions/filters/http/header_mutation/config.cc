#include "extensions/filters/http/header_mutation/config.h"

#include "envoy/config/common/mutation_rules/v3/mutation_rules.pb.h"
#include "envoy/extensions/filters/http/header_mutation/v3/header_mutation.pb.h"
#include "extensions/common/proto_header_mutations.h"
#include "extensions/common/proto_headers.h"
#include "extensions/common/proto_matchers.h"
#include "extensions/filters/http/header_mutation/header_mutation.h"

namespace sluice::extensions::header_mutation {
namespace {

namespace proto = envoy::extensions::filters::http::header_mutation::v3;
using QueryProto = envoy::config::core::v3::KeyValueMutation;

std::string item(const std::string& path, int i) {
  return path + "[" + std::to_string(i) + "]";
}

Result<QueryMutation> to_query(const QueryProto& in, const std::string& path) {
  using Action = envoy::config::core::v3::KeyValueAppend;
  using Append = model::HeaderRules::Append;
  QueryMutation out;
  if (!in.has_append()) {
    if (in.remove().empty()) return Error{path + ": one of append, remove is needed"};
    out.name = in.remove();
    out.remove = true;
    return out;
  }
  if (!in.append().has_record()) return Error{path + ".append.record: is missing: it names the parameter"};
  const auto& record = in.append().record();
  if (record.value().kind_case() != google::protobuf::Value::kStringValue)
    return Error{path + ".append.record.value: only a string value is allowed; put it in quotes"};
  out.name = record.key();
  out.literal = record.value().string_value();
  if (out.literal.find('%') != std::string::npos) {
    auto formatter = make_header_formatter(out.literal);
    if (!formatter.ok()) return std::move(formatter).error().prefixed(path + ".append.record.value");
    out.formatter = std::move(formatter).value();
  }
  switch (in.append().action()) {
    case Action::ADD_IF_ABSENT:
      out.action = Append::add_if_absent;
      break;
    case Action::OVERWRITE_IF_EXISTS_OR_ADD:
      out.action = Append::overwrite_if_exists_or_add;
      break;
    case Action::OVERWRITE_IF_EXISTS:
      out.action = Append::overwrite_if_exists;
      break;
    default:
      break;
  }
  return out;
}

Result<std::shared_ptr<const Mutations>> to_all(const proto::Mutations& in, const std::string& path) {
  auto out = std::make_shared<Mutations>();
  SLUICE_ASSIGN(out->request, to_mutations(in.request_mutations(), path + ".request_mutations"));
  SLUICE_ASSIGN(out->response, to_mutations(in.response_mutations(), path + ".response_mutations"));
  SLUICE_ASSIGN(out->request_trailers,
                to_mutations(in.request_trailers_mutations(), path + ".request_trailers_mutations"));
  SLUICE_ASSIGN(out->response_trailers,
                to_mutations(in.response_trailers_mutations(), path + ".response_trailers_mutations"));
  for (int i = 0; i < in.query_parameter_mutations_size(); ++i) {
    SLUICE_ASSIGN(auto made,
                  to_query(in.query_parameter_mutations(i), item(path + ".query_parameter_mutations", i)));
    out->query.push_back(std::move(made));
  }
  return std::shared_ptr<const Mutations>(std::move(out));
}

Result<ext::HttpFilterFactory> create(const google::protobuf::Message& message, ext::FactoryContext&,
                                      std::string_view path) {
  const auto& in = static_cast<const proto::HeaderMutation&>(message);
  SLUICE_ASSIGN(auto mutations, to_all(in.mutations(), std::string(path) + ".mutations"));
  return make_factory(std::move(mutations), in.most_specific_header_mutations_wins());
}

Result<ext::HttpRouteConfigPtr> create_route(const google::protobuf::Message& message, ext::FactoryContext&,
                                             std::string_view path) {
  const auto& in = static_cast<const proto::HeaderMutationPerRoute&>(message);
  SLUICE_ASSIGN(auto mutations, to_all(in.mutations(), std::string(path) + ".mutations"));
  return ext::HttpRouteConfigPtr(std::move(mutations));
}

}  // namespace

ext::HttpFilterExtension extension() {
  ext::HttpFilterExtension e;
  e.name = "envoy.filters.http.header_mutation";
  e.type = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation";
  e.create = &create;
  e.route_type = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute";
  e.create_route = &create_route;
  e.honoured = {
      {.message = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
       .fields = "mutations most_specific_header_mutations_wins"},
      {.message = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute",
       .fields = "mutations"},
      {.message = "envoy.extensions.filters.http.header_mutation.v3.Mutations",
       .fields = "request_mutations query_parameter_mutations response_mutations response_trailers_mutations "
                 "request_trailers_mutations"},
      {.message = "envoy.config.common.mutation_rules.v3.HeaderMutation",
       .fields = "remove append remove_on_match"},
      {.message = "envoy.config.common.mutation_rules.v3.HeaderMutation.RemoveOnMatch",
       .fields = "key_matcher"},
      {.message = "envoy.config.core.v3.KeyValueMutation", .fields = "append remove"},
      {.message = "envoy.config.core.v3.KeyValueAppend", .fields = "record action"},
      {.message = "envoy.config.core.v3.KeyValuePair", .fields = "key value"},
  };
  return e;
}

}  // namespace sluice::extensions::header_mutation
