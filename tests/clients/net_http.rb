# Ruby's net/http: follows nothing, keeps the connection within a block.
require "net/http"
require "stringio"

follower, leader, redirect = ENV.values_at("FOLLOWER", "LEADER", "REDIRECT")
post = ->(url) { Net::HTTP.post(URI(url), "") }
response = post.call("#{follower}/")
unless redirect == "none"
  raise response.code unless response.code == redirect
  response = post.call(response["Location"])
end
response.value
puts response.body
uri = URI(leader)
Net::HTTP.start(uri.host, uri.port) do |http|
  ask = lambda do |request|
    response = http.request(request)
    response.value
    puts response.body
    raise "the connection is kept" unless http.started? && response["Connection"].nil?
  end
  20.times { ask.call(Net::HTTP::Post.new("/")) }
  ask.call(Net::HTTP::Post.new("/?n=3"))
  # A body, one in chunks, one that waits for 100 Continue.
  http.continue_timeout = 30
  [{}, { "Transfer-Encoding" => "chunked" }, { "Expect" => "100-continue" }].each do |fields|
    request = Net::HTTP::Post.new("/", fields)
    fields.key?("Transfer-Encoding") ? request.body_stream = StringIO.new("abc") : request.body = "abc"
    ask.call(request)
  end
end
