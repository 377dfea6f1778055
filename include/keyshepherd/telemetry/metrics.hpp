// Every metric of the program, in Prometheus' text format. One table (metric_table) names them; labels are
// closed sets, so nothing a client sends can make a new series.
//
// Counting is safe from every thread. Series are made at construction and only looked up in short arrays
// afterwards.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace keyshepherd::telemetry {

enum class Kind { counter, gauge, histogram };

struct MetricDescription {
    Kind kind;
    std::string_view name;
    std::string_view labels;  // "outcome,reason", or ""
    std::string_view help;
};

// For the registration, the reference page and the tests.
std::span<const MetricDescription> metric_table();

class Metrics {
public:
    Metrics();
    ~Metrics();
    Metrics(const Metrics&) = delete;
    Metrics& operator=(const Metrics&) = delete;

    // What is outside its closed set counts as "other".
    void admission(std::string_view outcome, std::string_view reason, bool dry_run, double seconds);
    void http_request(int code);
    void session_opened();
    void session_closed(std::string_view reason);
    void body_bytes_in_flight(std::size_t bytes);
    void certificate_loaded(double not_after, bool reload);  // seconds since 1970
    void certificate_reload_failed();
    void providers_loaded(bool reload);
    void provider_reload_failed();
    void providers(std::size_t usable, std::size_t faulty);
    void watch_failed();
    void watches_failing(std::size_t count);

    std::string text() const;

private:
    struct Series;
    std::unique_ptr<Series> series_;
};

}  // namespace keyshepherd::telemetry
