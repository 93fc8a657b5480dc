#include "server/admin/stats_print.h"

#include <fmt/format.h>

#include <cmath>
#include <map>

#include "server/admin/json_text.h"
#include "server/admin/stat_tags.h"

namespace sluice::admin {
namespace {

using stats::HistogramSnapshot;
using stats::Kind;
using stats::MetricSnapshot;

const HistogramSnapshot& interval_of(const StatsHandler::Intervals& intervals, const std::string& name) {
  static const HistogramSnapshot none;
  auto it = intervals.find(name);
  return it == intervals.end() ? none : it->second;
}

// What a bucket holds: all up to its bound, or what lies between the bound before it and its own.
struct BucketCounts {
  const HistogramSnapshot& h;
  const BucketMode mode;
  uint64_t at(size_t i) const {
    uint64_t n = h.count_at_most(kBucketBounds[i]);
    return mode == BucketMode::cumulative || i == 0 ? n : n - h.count_at_most(kBucketBounds[i - 1]);
  }
};

std::string text_number(double v) {
  return std::isnan(v) ? "nan" : fmt::format("{:g}", v);
}
std::string json_number(double v) {
  return std::isnan(v) ? "null" : fmt::format("{}", v);
}

std::string histogram_text(const HistogramSnapshot& total, const HistogramSnapshot& interval,
                           BucketMode mode) {
  if (total.count == 0) return "No recorded values";
  std::string out;
  if (mode == BucketMode::summary) {
    for (double q : kQuantiles) {
      out += fmt::format("{}P{}({},{})", out.empty() ? "" : " ", q, text_number(interval.quantile(q / 100)),
                         text_number(total.quantile(q / 100)));
    }
    return out;
  }
  BucketCounts totals{total, mode}, intervals{interval, mode};
  for (size_t i = 0; i < kBucketBounds.size(); ++i) {
    out += fmt::format("{}B{:g}({},{})", out.empty() ? "" : " ", kBucketBounds[i], intervals.at(i),
                       totals.at(i));
  }
  return out;
}

std::string histograms_json(const std::vector<const MetricSnapshot*>& histograms,
                            const StatsHandler::Intervals& intervals, BucketMode mode) {
  std::string out = "{\"histograms\":", separator;
  if (mode != BucketMode::summary) {
    out += '[';
    for (const MetricSnapshot* m : histograms) {
      out += fmt::format("{}{{\"name\":{},\"buckets\":[", separator, json_string(m->name));
      BucketCounts totals{*m->histogram, mode}, of_interval{interval_of(intervals, m->name), mode};
      for (size_t i = 0; i < kBucketBounds.size(); ++i) {
        out += fmt::format("{}{{\"upper_bound\":{},\"interval\":{},\"cumulative\":{}}}", i ? "," : "",
                           kBucketBounds[i], of_interval.at(i), totals.at(i));
      }
      out += "]}";
      separator = ",";
    }
    return out + "]}";
  }
  out += "{\"supported_quantiles\":[";
  for (size_t i = 0; i < kQuantiles.size(); ++i) out += fmt::format("{}{}", i ? "," : "", kQuantiles[i]);
  out += "],\"computed_quantiles\":[";
  for (const MetricSnapshot* m : histograms) {
    out += fmt::format("{}{{\"name\":{},\"values\":[", separator, json_string(m->name));
    const HistogramSnapshot& interval = interval_of(intervals, m->name);
    for (size_t i = 0; i < kQuantiles.size(); ++i) {
      out += fmt::format("{}{{\"cumulative\":{},\"interval\":{}}}", i ? "," : "",
                         json_number(m->histogram->quantile(kQuantiles[i] / 100)),
                         json_number(interval.quantile(kQuantiles[i] / 100)));
    }
    out += "]}";
    separator = ",";
  }
  return out + "]}}";
}

// Prometheus: [a-zA-Z_][a-zA-Z0-9_]*; the "envoy_" in front sees to the first character.
std::string prometheus_name(std::string_view name) {
  std::string out;
  for (char c : name) {
    bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    out += good ? c : '_';
  }
  return out;
}

std::string label_value(std::string_view value) {
  std::string out;
  for (char c : value) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n')
      out += "\\n";
    else
      out += c;
  }
  return out;
}

struct Series {
  const MetricSnapshot* metric;
  std::string labels;
};

void append_series(std::string& out, const std::string& name, const Series& s) {
  const MetricSnapshot& m = *s.metric;
  if (m.kind != Kind::histogram) {
    out += fmt::format("{}{{{}}} {}\n", name, s.labels, m.kind == Kind::text ? 1 : m.value);
    return;
  }
  const char* comma = s.labels.empty() ? "" : ",";
  for (double bound : kBucketBounds) {
    out += fmt::format("{}_bucket{{{}{}le=\"{:.32g}\"}} {}\n", name, s.labels, comma, bound,
                       m.histogram->count_at_most(bound));
  }
  out += fmt::format("{}_bucket{{{}{}le=\"+Inf\"}} {}\n", name, s.labels, comma, m.histogram->count);
  out += fmt::format("{}_sum{{{}}} {}\n", name, s.labels, m.histogram->sum);
  out += fmt::format("{}_count{{{}}} {}\n", name, s.labels, m.histogram->count);
}

}  // namespace

std::string print_text(const Metrics& metrics, const StatsHandler::Intervals& intervals, BucketMode mode) {
  // Envoy's order: text readouts, then counters and gauges together, then histograms; each by name.
  std::string texts, numbers, histograms;
  for (const MetricSnapshot& m : metrics) {
    switch (m.kind) {
      case Kind::text:
        texts += fmt::format("{}: \"{}\"\n", m.name, m.text);
        break;
      case Kind::counter:
      case Kind::gauge:
        numbers += fmt::format("{}: {}\n", m.name, m.value);
        break;
      case Kind::histogram:
        histograms += fmt::format("{}: {}\n", m.name,
                                  histogram_text(*m.histogram, interval_of(intervals, m.name), mode));
        break;
    }
  }
  return texts + numbers + histograms;
}

std::string print_json(const Metrics& metrics, const StatsHandler::Intervals& intervals, BucketMode mode) {
  std::string texts, numbers;
  std::vector<const MetricSnapshot*> histograms;
  for (const MetricSnapshot& m : metrics) {
    switch (m.kind) {
      case Kind::text:
        texts += fmt::format("{{\"name\":{},\"value\":{}}},", json_string(m.name), json_string(m.text));
        break;
      case Kind::counter:
      case Kind::gauge:
        numbers += fmt::format("{{\"name\":{},\"value\":{}}},", json_string(m.name), m.value);
        break;
      case Kind::histogram:
        histograms.push_back(&m);
        break;
    }
  }
  std::string all = texts + numbers;
  if (!histograms.empty())
    all += histograms_json(histograms, intervals, mode);
  else if (!all.empty())
    all.pop_back();
  return "{\"stats\":[" + all + "]}";
}

std::string print_prometheus(const Metrics& metrics, bool text_readouts) {
  // All series of one name stand together, counters first, as the exposition format and Envoy have it.
  struct Group {
    std::vector<Series> series;
  };
  std::map<std::pair<int, std::string>, Group> groups;
  for (const MetricSnapshot& m : metrics) {
    if (m.kind == Kind::text && !text_readouts) continue;
    TaggedName tagged = extract_tags(m.name);
    std::string labels;
    auto label = [&](std::string_view name, std::string_view value) {
      labels +=
          fmt::format("{}{}=\"{}\"", labels.empty() ? "" : ",", prometheus_name(name), label_value(value));
    };
    for (const auto& [tag, value] : tagged.tags) label(tag, value);
    if (m.kind == Kind::text) label("text_value", m.text);
    int order = m.kind == Kind::counter ? 0 : m.kind == Kind::gauge ? 1 : m.kind == Kind::text ? 2 : 3;
    groups[{order, std::move(tagged.name)}].series.push_back({&m, std::move(labels)});
  }
  std::string out;
  for (const auto& [key, group] : groups) {
    std::string name = "envoy_" + prometheus_name(key.second);
    out += fmt::format("# TYPE {} {}\n", name,
                       key.first == 0   ? "counter"
                       : key.first == 3 ? "histogram"
                                        : "gauge");
    for (const Series& s : group.series) append_series(out, name, s);
  }
  return out;
}

}  // namespace sluice::admin
