# Perl's LWP and HTTP::Tiny: neither follows a redirect of POST, unless LWP is told to; then it sends POST again.
use strict;
use warnings;

eval { require LWP::UserAgent; require HTTP::Tiny; 1 } or exit 77;
my ($follower, $leader, $redirect) = @ENV{qw(FOLLOWER LEADER REDIRECT)};

my $agent = LWP::UserAgent->new(keep_alive => 1);
sub take {
    my $response = $agent->post(@_);
    die $response->status_line unless $response->code == 200;
    print $response->content, "\n";
}
if ($redirect ne 'none') {
    my $response = $agent->post("$follower/");
    die $response->status_line unless $response->code == $redirect;
    my $tiny = HTTP::Tiny->new->post("$follower/");
    die $tiny->{status} unless $tiny->{status} == $redirect;
}
push @{ $agent->requests_redirectable }, 'POST';
take("$follower/");
take("$leader/") for 1 .. 20;
take("$leader/?n=3");
take("$leader/", { a => 'b' });
# A body of unknown length is sent in chunks.
my @parts = qw(a b);
my $tiny = HTTP::Tiny->new->request('POST', "$leader/", { content => sub { shift @parts } });
die $tiny->{status} unless $tiny->{status} == 200;
print $tiny->{content}, "\n";
