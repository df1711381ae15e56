package aggregator

import "baler/userop"

// SelectorsForTest are the selectors by the name of their function.
func SelectorsForTest(v userop.Version) map[string][]byte {
	return map[string][]byte{
		"validateUserOpSignature": selector(v, selValidateUserOpSignatureV06, selValidateUserOpSignature),
		"aggregateSignatures":     selector(v, selAggregateSignaturesV06, selAggregateSignatures),
		"validateSignatures":      selector(v, selValidateSignaturesV06, selValidateSignatures),
		"getPublicKey":            []byte(selGetPublicKey),
	}
}
