#include "server/admin/stats_handler.h"

#include "core/regex.h"
#include "server/admin/stats_print.h"

namespace sluice::admin {
namespace {

using stats::Kind;

Response bad(std::string why) {
  return Response::text(400, std::move(why));
}

// usedonly, type, filter and invert_filter; the error is the response.
std::optional<Response> choose(const Request& request, Metrics& metrics) {
  if (request.has("type")) {
    std::string_view type = request.get("type");
    auto keep = [&](Kind kind) {
      std::erase_if(metrics, [&](const stats::MetricSnapshot& m) { return m.kind != kind; });
    };
    if (type == "Counters")
      keep(Kind::counter);
    else if (type == "Gauges")
      keep(Kind::gauge);
    else if (type == "Histograms")
      keep(Kind::histogram);
    else if (type == "TextReadouts")
      keep(Kind::text);
    else if (type != "All")
      return bad("invalid &type= param");
  }
  if (request.has("usedonly")) std::erase_if(metrics, [](const stats::MetricSnapshot& m) { return !m.used; });
  if (std::string_view filter = request.get("filter"); !filter.empty()) {
    const auto pattern = Regex::compile(filter);
    if (!pattern.ok()) return bad("Invalid re2 regex: " + pattern.error().message);
    bool invert = request.has("invert_filter");
    std::erase_if(metrics,
                  [&](const stats::MetricSnapshot& m) { return pattern->partial_match(m.name) == invert; });
  }
  return std::nullopt;
}

}  // namespace

StatsHandler::StatsHandler(io::Loop& loop, stats::Store& store, Duration interval)
    : loop_(loop), store_(store), interval_(interval), timer_(loop.timers(), &expired, this) {
  timer_.arm(loop_.now() + interval_);
}

void StatsHandler::expired(io::Timer& timer) {
  StatsHandler& self = *timer.owner<StatsHandler>();
  self.end_interval();
  timer.arm(self.loop_.now() + self.interval_);
}

// Of those that have values alone: thousands of clusters have few. What is gone is forgotten with the rest.
void StatsHandler::end_interval() {
  Intervals totals, intervals;
  for (auto& m : store_.snapshot(Kind::histogram, true)) {
    const auto before = totals_.find(m.name);
    const uint64_t counted = before == totals_.end() ? 0 : before->second.count;
    // Fewer than before: another metric of the same name.
    if (counted == 0 || m.histogram->count < counted)
      intervals.emplace(m.name, *m.histogram);
    else if (m.histogram->count > counted)
      intervals.emplace(m.name, m.histogram->since(before->second));
    totals.emplace(std::move(m.name), std::move(*m.histogram));
  }
  totals_ = std::move(totals);
  intervals_ = std::move(intervals);
}

Response StatsHandler::stats(const Request& request) const {
  std::string_view format = request.get("format");
  if (format == "prometheus") return prometheus(request);
  if (request.has("format") && format != "text" && format != "json")
    return bad("usage: /stats?format=(json|prometheus|text)\n");
  BucketMode mode = BucketMode::summary;
  if (request.has("histogram_buckets")) {
    std::string_view wanted = request.get("histogram_buckets");
    if (wanted == "cumulative")
      mode = BucketMode::cumulative;
    else if (wanted == "disjoint")
      mode = BucketMode::disjoint;
    else if (wanted != "summary")
      return bad("usage: /stats?histogram_buckets=(cumulative|disjoint|summary)\n");
  }
  before_reading_();
  Metrics metrics = store_.snapshot();
  if (auto error = choose(request, metrics)) return *std::move(error);
  if (format == "json") return Response::json(print_json(metrics, intervals_, mode));
  return Response::text(200, print_text(metrics, intervals_, mode));
}

Response StatsHandler::prometheus(const Request& request) const {
  if (request.has("histogram_buckets") && request.get("histogram_buckets") != "cumulative") {
    return bad("usage: /stats/prometheus?histogram_buckets=cumulative\n");
  }
  before_reading_();
  Metrics metrics = store_.snapshot();
  if (auto error = choose(request, metrics)) return *std::move(error);
  return Response::text(200, print_prometheus(metrics, request.has("text_readouts")));
}

void StatsHandler::add_to(Router& router) {
  std::vector<Router::Param> common = {
      {"usedonly", "Only include stats that have been written by system since restart"},
      {"filter", "Regular expression (Google re2) for filtering stats"},
      {"invert_filter", "Invert the filter regex"}};
  auto params = common;
  params.push_back({"format", "Format to use; One of (text, json, prometheus)"});
  params.push_back(
      {"type", "Stat types to include.; One of (All, Counters, Histograms, Gauges, TextReadouts)"});
  params.push_back(
      {"histogram_buckets", "Histogram bucket display mode; One of (cumulative, disjoint, summary)"});
  router.add({.path = "/stats", .help = "print server stats", .params = params},
             [this](const Request& r) { return stats(r); });
  params = common;
  params.push_back(
      {"text_readouts", "Render text_readouts as gauges with value 1 (increases Prometheus data size)"});
  router.add(
      {.path = "/stats/prometheus", .help = "print server stats in prometheus format", .params = params},
      [this](const Request& r) { return prometheus(r); });
  router.add({.path = "/reset_counters", .help = "reset all counters to zero", .mutates = true},
             [this](const Request&) {
               before_reading_();
               store_.reset_counters();
               return Response::text(200, "OK\n");
             });
}

}  // namespace sluice::admin
