// Go's net/http: sends GET after a 301, keeps POST after 307 and 308.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
)

func post(client *http.Client, url string) (*http.Response, string) {
	response, err := client.Post(url, "text/plain", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		log.Fatal(err)
	}
	return response, string(body)
}

func take(client *http.Client, url string) {
	response, body := post(client, url)
	if response.StatusCode != 200 {
		log.Fatal(response.Status, " ", body)
	}
	fmt.Println(body)
}

func main() {
	follower, leader := os.Getenv("FOLLOWER"), os.Getenv("LEADER")
	client := &http.Client{}
	if os.Getenv("REDIRECT") == "301" {
		if response, _ := post(client, follower); response.StatusCode != 405 {
			log.Fatal(response.Status)
		}
		staying := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		}}
		response, _ := post(staying, follower)
		take(client, response.Header.Get("Location"))
	} else {
		take(client, follower)
	}
	for i := 0; i < 20; i++ {
		take(client, leader)
	}
	take(client, leader+"/?n=3")
}
